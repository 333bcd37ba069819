-- name: draw_revision
-- Takes the next revision of a dataset's audio. The update locks the dataset's row, so changes commit in the order of
-- their revisions.
UPDATE datasets SET audio_revision = audio_revision + 1
WHERE tenant_id = $1 AND id = $2
RETURNING audio_revision

-- name: insert
-- Adds a file whose bytes are stored.
INSERT INTO audio_files
    (id, tenant_id, dataset_id, original_filename, content_type, size_bytes, sha256, "group", revision)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: get
-- One file.
SELECT id, tenant_id, dataset_id, original_filename, content_type, "group", size_bytes, sha256, duration_ms,
    sample_rate_hz, channels, processing_status, error_message, revision, attempt, losses, created_at, updated_at
FROM audio_files
WHERE tenant_id = $1 AND id = $2

-- name: exists
-- Whether a file has not been deleted.
SELECT EXISTS (SELECT FROM audio_files WHERE id = $1)

-- name: list
-- A page of a dataset's files, oldest first.
SELECT id, tenant_id, dataset_id, original_filename, content_type, "group", size_bytes, sha256, duration_ms,
    sample_rate_hz, channels, processing_status, error_message, revision, attempt, losses, created_at, updated_at
FROM audio_files
WHERE tenant_id = $1 AND dataset_id = $2
    AND (cardinality($3::text[]) = 0 OR processing_status = ANY ($3))
    AND (cardinality($4::text[]) = 0 OR "group" = ANY ($4))
    AND ($5::uuid IS NULL OR id > $5)
ORDER BY id
LIMIT $6

-- name: set_group
-- Puts a file into a group, under the dataset's next revision. Jobs created before would train without the file, so none
-- may be unfinished.
WITH dataset AS (UPDATE datasets SET audio_revision = audio_revision + 1 WHERE id = $2 RETURNING audio_revision)
UPDATE audio_files SET "group" = $3, revision = dataset.audio_revision FROM dataset WHERE audio_files.id = $1

-- name: lock_dataset
-- Locks a file's dataset until the transaction ends, which protects the file and its annotations as well.
SELECT id FROM datasets
WHERE id = (SELECT dataset_id FROM audio_files WHERE tenant_id = $1 AND id = $2)
FOR UPDATE

-- name: in_progress
-- The number of a tenant's files that are not processed yet, in the given datasets or in all, and the number of the last
-- event in the tenant's log. One snapshot: the log contains the changes that led to this number of files.
SELECT (SELECT count(*) FROM audio_files
        WHERE tenant_id = $1 AND (cardinality($2::uuid[]) = 0 OR dataset_id = ANY ($2))
            AND processing_status IN ('pending', 'normalizing', 'embedding')) AS files,
    coalesce((SELECT last_sequence FROM tenant_logs WHERE tenant_id = $1), 0) AS last_sequence

-- name: lock_claims
-- Lets one transaction at a time claim files, so that the tenants' turns are counted correctly.
SELECT pg_advisory_xact_lock(hashtextextended('earmark audio claims', 0))

-- name: claim
-- Claims unfinished files without a valid lease: each gets its next attempt number and a new lease. Tenants take turns:
-- the oldest file of each comes before the second of any, and a tenant whose turn was longer ago before the others. A
-- turn counts even if its file is locked just now, so that others do not wait for it. Each step of the recursion finds
-- the next tenant by the index, however many files one has.
WITH RECURSIVE waiting AS (
    (SELECT tenant_id FROM audio_files WHERE processing_status IN ('pending', 'normalizing', 'embedding')
     ORDER BY tenant_id LIMIT 1)
    UNION ALL
    SELECT (SELECT a.tenant_id FROM audio_files a
            WHERE a.processing_status IN ('pending', 'normalizing', 'embedding') AND a.tenant_id > w.tenant_id
            ORDER BY a.tenant_id LIMIT 1)
    FROM waiting w WHERE w.tenant_id IS NOT NULL
), due AS MATERIALIZED (
    SELECT o.id, w.tenant_id
    FROM waiting w
    LEFT JOIN audio_turns t USING (tenant_id)
    CROSS JOIN LATERAL (
        SELECT a.id, row_number() OVER (ORDER BY a.id) AS place
        FROM (SELECT id FROM audio_files
              WHERE tenant_id = w.tenant_id AND processing_status IN ('pending', 'normalizing', 'embedding')
                  AND (lease_until IS NULL OR is_over(lease_until))
              ORDER BY id LIMIT $1) a
    ) o
    ORDER BY o.place, t.claimed_at NULLS FIRST, o.id
    LIMIT $1
), turns AS (
    INSERT INTO audio_turns (tenant_id, claimed_at) SELECT DISTINCT tenant_id, statement_timestamp() FROM due
    ON CONFLICT (tenant_id) DO UPDATE SET claimed_at = excluded.claimed_at
), unlocked AS MATERIALIZED (
    SELECT id FROM audio_files
    WHERE id IN (SELECT id FROM due) AND processing_status IN ('pending', 'normalizing', 'embedding')
        AND (lease_until IS NULL OR is_over(lease_until))
    ORDER BY id
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE audio_files f SET attempt = attempt + 1, lease_until = now() + make_interval(secs => $2)
FROM unlocked
WHERE f.id = unlocked.id
RETURNING f.id, tenant_id, dataset_id, original_filename, content_type, "group", size_bytes, sha256, duration_ms,
    sample_rate_hz, channels, processing_status, error_message, revision, attempt, losses, created_at, updated_at

-- name: change
-- Sets a file's status on behalf of its current attempt; no row for any other attempt. The dataset's row is locked
-- first, as everywhere.
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
    frontend = coalesce($9::text, frontend),
    error_message = $7,
    losses = CASE WHEN $3 = 'ready' THEN 0 ELSE losses END,
    lease_until = now() + make_interval(secs => $8::double precision),
    revision = dataset.audio_revision,
    updated_at = now()
FROM dataset
WHERE f.id = $1 AND attempt = $2 AND processing_status IN ('pending', 'normalizing', 'embedding')
RETURNING f.id, tenant_id, dataset_id, original_filename, content_type, "group", size_bytes, sha256, duration_ms,
    sample_rate_hz, channels, processing_status, error_message, f.revision, attempt, losses, created_at, updated_at

-- name: renew
-- Extends the current attempt's lease; no row for any other attempt, or once it is over.
UPDATE audio_files SET lease_until = now() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND processing_status <> 'failed' AND lease_until IS NOT NULL
RETURNING true

-- name: outdated
-- The number of all tenants' ready files with features of another front end than $1, and of those that have failed to
-- get new ones. Two ranges, since an index finds no inequality.
SELECT count(*) AS files, count(*) FILTER (WHERE losses > 0) AS failing FROM audio_files
WHERE processing_status = 'ready' AND (frontend < $1 OR frontend > $1)

-- name: claim_outdated
-- Claims ready files with features of another front end than $1, oldest first. A job that trains may still have to read
-- the features of its files: they stay until it ends.
WITH due AS MATERIALIZED (
    SELECT id FROM audio_files a
    WHERE processing_status = 'ready' AND (frontend < $1 OR frontend > $1)
        AND (lease_until IS NULL OR is_over(lease_until))
        AND NOT EXISTS (SELECT FROM training_jobs j WHERE j.dataset_id = a.dataset_id AND j.status = 'training')
    ORDER BY id
    LIMIT $2
    FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE audio_files f SET attempt = attempt + 1, lease_until = now() + make_interval(secs => $3)
FROM due
WHERE f.id = due.id
RETURNING f.id, tenant_id, dataset_id, original_filename, content_type, "group", size_bytes, sha256, duration_ms,
    sample_rate_hz, channels, processing_status, error_message, revision, attempt, losses, created_at, updated_at

-- name: update_features
-- Records that a ready file has features of the front end $3, on behalf of its current attempt; no row for any other.
-- Neither status nor revision changes: a job that was created before trains on the file.
UPDATE audio_files SET frontend = $3, lease_until = NULL, losses = 0, first_loss_at = NULL
WHERE id = $1 AND attempt = $2 AND processing_status = 'ready'
RETURNING true

-- name: release_outdated
-- Ends an attempt at a ready file without new features; no row for any other attempt. Nobody claims it for $3 seconds.
UPDATE audio_files SET losses = losses + $4, lease_until = now() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND processing_status = 'ready'
RETURNING true

-- name: lock_dataset_of
-- Locks a file's dataset, whoever's it is, until the transaction ends.
SELECT id FROM datasets WHERE id = (SELECT dataset_id FROM audio_files WHERE id = $1) FOR UPDATE

-- name: count_loss
-- Counts a lost attempt, and looks whether another file has become ready since the first one. The caller has locked the
-- dataset.
UPDATE audio_files f SET losses = losses + 1, first_loss_at = coalesce(first_loss_at, now())
WHERE id = $1 AND attempt = $2 AND processing_status IN ('pending', 'normalizing', 'embedding')
RETURNING losses, EXISTS (
    SELECT FROM audio_files r WHERE r.processing_status = 'ready' AND r.updated_at > f.first_loss_at
) AS others_succeed

-- name: retry
-- Makes a failed file pending again, as if it had been uploaded anew; no row if it has not failed.
WITH dataset AS (
    UPDATE datasets SET audio_revision = audio_revision + 1
    WHERE id = (SELECT dataset_id FROM audio_files
                WHERE tenant_id = $1 AND id = $2 AND processing_status = 'failed')
    RETURNING audio_revision
)
UPDATE audio_files SET
    processing_status = 'pending',
    error_message = '',
    lease_until = NULL,
    losses = 0,
    first_loss_at = NULL,
    revision = dataset.audio_revision,
    updated_at = now()
FROM dataset
WHERE tenant_id = $1 AND id = $2 AND processing_status = 'failed'
RETURNING true
