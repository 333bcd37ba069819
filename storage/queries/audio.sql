-- name: draw_revision
-- The next revision of a dataset's audio; holds the dataset's row, so that order of revision is order of commit.
UPDATE datasets SET audio_revision = audio_revision + 1
WHERE tenant_id = $1 AND id = $2
RETURNING audio_revision

-- name: insert
-- A file whose bytes are stored.
INSERT INTO audio_files
    (id, tenant_id, dataset_id, original_filename, content_type, size_bytes, sha256, revision)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: get
-- One file.
SELECT id, dataset_id, original_filename, content_type, size_bytes, sha256, duration_ms, sample_rate_hz, channels,
    processing_status, error_message, revision, attempt, created_at, updated_at
FROM audio_files
WHERE tenant_id = $1 AND id = $2

-- name: exists
-- Whether a file has not been deleted.
SELECT EXISTS (SELECT FROM audio_files WHERE id = $1)

-- name: list
-- A page of a dataset's files, oldest first.
SELECT id, dataset_id, original_filename, content_type, size_bytes, sha256, duration_ms, sample_rate_hz, channels,
    processing_status, error_message, revision, attempt, created_at, updated_at
FROM audio_files
WHERE tenant_id = $1 AND dataset_id = $2
    AND ($3::text IS NULL OR processing_status = $3)
    AND ($4::uuid IS NULL OR id > $4)
ORDER BY id
LIMIT $5

-- name: lock_dataset
-- Keeps a file, its marks and its dataset as they are until the end of the transaction.
SELECT id FROM datasets
WHERE id = (SELECT dataset_id FROM audio_files WHERE tenant_id = $1 AND id = $2)
FOR UPDATE

-- name: dependents
-- What forbids deleting a file: the published versions that mark it, the unfinished jobs on its dataset.
SELECT
    (SELECT coalesce(array_agg(s.version ORDER BY s.version), '{}') FROM annotation_sets s
     WHERE s.dataset_id = $1 AND s.status = 'published'
         AND EXISTS (SELECT FROM annotations a WHERE a.annotation_set_id = s.id AND a.audio_file_id = $2)) AS versions,
    (SELECT coalesce(array_agg(j.id ORDER BY j.id), '{}') FROM training_jobs j
     WHERE j.dataset_id = $1 AND j.status IN ('pending', 'queued', 'training')) AS jobs

-- name: delete_marks
-- A file's annotations, all of them in drafts.
DELETE FROM annotations WHERE audio_file_id = $1

-- name: delete
-- The file itself.
DELETE FROM audio_files WHERE id = $1

-- name: latest_revision
-- That of the last change of any file of the dataset.
SELECT audio_revision FROM datasets WHERE tenant_id = $1 AND id = $2

-- name: count_in_progress
-- Files on their way.
SELECT count(*) FROM audio_files
WHERE dataset_id = $1 AND processing_status IN ('pending', 'normalizing', 'embedding')

-- name: changed
-- Files that changed after a revision, in the order of their last changes.
SELECT id, dataset_id, original_filename, content_type, size_bytes, sha256, duration_ms, sample_rate_hz, channels,
    processing_status, error_message, revision, attempt, created_at, updated_at
FROM audio_files
WHERE dataset_id = $1 AND revision > $2
ORDER BY revision
LIMIT $3

-- name: claim
-- Takes files that nobody works on, oldest first, each for one more attempt.
WITH due AS MATERIALIZED (
    SELECT id FROM audio_files
    WHERE processing_status IN ('pending', 'normalizing', 'embedding')
        AND (lease_until IS NULL OR lease_until < now())
        AND attempt < $3
    ORDER BY id
    LIMIT $1
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE audio_files f SET attempt = attempt + 1, lease_until = now() + make_interval(secs => $2)
FROM due
WHERE f.id = due.id
RETURNING f.id, dataset_id, original_filename, content_type, size_bytes, sha256, duration_ms, sample_rate_hz,
    channels, processing_status, error_message, revision, attempt, created_at, updated_at

-- name: change
-- A file's next status, of its current attempt's making. The dataset's row is taken first, as everywhere.
WITH dataset AS (
    UPDATE datasets SET audio_revision = audio_revision + 1
    WHERE id = (SELECT dataset_id FROM audio_files
                WHERE id = $1 AND attempt = $2 AND processing_status IN ('pending', 'normalizing', 'embedding'))
    RETURNING audio_revision
)
UPDATE audio_files f SET
    processing_status = $3,
    duration_ms = coalesce($4::bigint, duration_ms),
    sample_rate_hz = coalesce($5::integer, sample_rate_hz),
    channels = coalesce($6::integer, channels),
    error_message = $7,
    lease_until = now() + make_interval(secs => $8::double precision),
    revision = dataset.audio_revision,
    updated_at = now()
FROM dataset
WHERE f.id = $1 AND attempt = $2 AND processing_status IN ('pending', 'normalizing', 'embedding')
    -- A file is given up only while nobody holds it.
    AND ($9::boolean OR lease_until < now())
RETURNING f.id, dataset_id, original_filename, content_type, size_bytes, sha256, duration_ms, sample_rate_hz,
    channels, processing_status, error_message, f.revision, attempt, created_at, updated_at

-- name: renew
-- Holds a file for longer; no row where the attempt is no longer the current one.
UPDATE audio_files SET lease_until = now() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND processing_status IN ('pending', 'normalizing', 'embedding')
RETURNING true

-- name: hopeless
-- Files whose last attempt was lost as well.
SELECT id, attempt FROM audio_files
WHERE processing_status IN ('pending', 'normalizing', 'embedding') AND lease_until < now() AND attempt >= $1
ORDER BY id
