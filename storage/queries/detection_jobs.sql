-- name: create
-- Adds a pending job without files.
INSERT INTO detection_jobs (id, tenant_id, model_id, dataset_id, config, types, metadata, total_files)
VALUES ($1, $2, $3, $4, $5, $6, $7, 0)

-- name: add_audio_files
-- Gives a new job the files of its dataset that are ready.
INSERT INTO detection_files (tenant_id, detection_job_id, position, file_id, audio_file_id, filename)
SELECT tenant_id, $1, row_number() OVER (ORDER BY id), id, id, original_filename
FROM audio_files
WHERE dataset_id = $2 AND processing_status = 'ready'

-- name: take_recordings
-- Gives a new job those of the recordings that belong to no job yet.
UPDATE recordings r SET detection_job_id = $1
FROM (SELECT id FROM recordings WHERE tenant_id = $2 AND id = ANY ($3::uuid[]) ORDER BY id FOR UPDATE) wanted
WHERE r.id = wanted.id AND r.detection_job_id IS NULL
RETURNING r.id

-- name: add_recordings
-- Gives a new job these recordings as its files, in the order of the ids.
INSERT INTO detection_files (tenant_id, detection_job_id, position, file_id, filename)
SELECT r.tenant_id, $1, wanted.position, r.id, r.filename
FROM unnest($2::uuid[]) WITH ORDINALITY AS wanted (id, position) JOIN recordings r USING (id)

-- name: add_references
-- Gives a new job these objects by reference as its files, in the order of the URIs.
INSERT INTO detection_files (tenant_id, detection_job_id, position, file_id, filename, by_reference)
SELECT j.tenant_id, j.id, wanted.position, wanted.file_id, wanted.uri, true
FROM detection_jobs j, unnest($2::uuid[], $3::text[]) WITH ORDINALITY AS wanted (file_id, uri, position)
WHERE j.id = $1

-- name: count_files
-- Completes the creation of a job: the number of its files, and its first revision.
UPDATE detection_jobs
SET total_files = (SELECT count(*) FROM detection_files WHERE detection_job_id = $1), revision = 1
WHERE id = $1
RETURNING *

-- name: get
-- One job.
SELECT * FROM detection_jobs WHERE tenant_id = $1 AND id = $2

-- name: page
-- A page of a tenant's jobs, newest first. A filter that is empty matches every job.
SELECT * FROM detection_jobs
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
    AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
    AND (cardinality($5::text[]) = 0 OR status = ANY ($5))
    AND metadata @> $6
ORDER BY id DESC
LIMIT $3

-- name: unfinished_of_models
-- The unfinished jobs of a tenant that search with one of these models.
SELECT id FROM detection_jobs
WHERE tenant_id = $1 AND status IN ('pending', 'queued', 'processing') AND model_id = ANY ($2::uuid[])
ORDER BY id

-- name: claim
-- Starts the next attempt of the job whose turn it is, with a lease of $1 seconds. A tenant may run as many jobs at a
-- time as its quota says, or $2, and begins none on a day on which it has searched as many seconds as its quota says, or
-- $3; 0 stands for any number.
WITH spent AS (
    SELECT tenant_id
    FROM detection_usage u LEFT JOIN tenant_quotas l USING (tenant_id)
    WHERE u.day = (now() AT TIME ZONE 'UTC')::date
    GROUP BY tenant_id, l.detection_seconds_per_day
    HAVING sum(u.audio_ms) >= 1000 * nullif(coalesce(l.detection_seconds_per_day, $3::bigint), 0)
)
UPDATE detection_jobs
SET status = 'processing', attempt = attempt + 1, lease_until = now() + make_interval(secs => $1), not_before = NULL,
    started_at = coalesce(started_at, now()), revision = revision + 1
WHERE id = (SELECT j.id FROM detection_queue q JOIN detection_jobs j USING (id)
            LEFT JOIN tenant_quotas l ON l.tenant_id = q.tenant_id
            WHERE q.is_due AND j.status = 'queued'
                AND q.turn <= coalesce(nullif(coalesce(l.running_detection_jobs, $2::bigint), 0), q.turn)
                AND q.tenant_id NOT IN (SELECT tenant_id FROM spent)
            ORDER BY q.turn, j.id LIMIT 1
            FOR UPDATE OF j SKIP LOCKED)
RETURNING *

-- name: manifest
-- The job's files that have no result yet, the front end of the features of those that are a dataset's, and the URI of
-- those by reference.
SELECT f.file_id, a.frontend, coalesce(a.duration_ms, 0) AS duration_ms,
    CASE WHEN f.by_reference THEN f.filename END AS uri
FROM detection_files f LEFT JOIN audio_files a ON a.id = f.audio_file_id
WHERE f.detection_job_id = $1 AND f.status IN ('waiting', 'processing')
ORDER BY f.position

-- name: lock_files
-- Locks some of a job's files, and those that are being processed, in the order in which deletions do.
SELECT position FROM detection_files
WHERE detection_job_id = $1 AND (file_id = ANY ($2::uuid[]) OR status = 'processing')
ORDER BY position FOR UPDATE

-- name: start_files
-- Records that a trainer works on these files.
UPDATE detection_files SET status = 'processing'
WHERE detection_job_id = $1 AND file_id = ANY ($2::uuid[]) AND status = 'waiting'

-- name: complete_files
-- Stores the results of files that had none. Returns what they add to the job's figures.
WITH changed AS (
    UPDATE detection_files f
    SET status = 'completed', duration_ms = r.duration_ms, detection_count = r.detection_count, scores = r.scores
    FROM unnest($2::uuid[], $3::bigint[], $4::integer[], $5::bytea[]) AS r (file_id, duration_ms, detection_count, scores)
    WHERE f.detection_job_id = $1 AND f.file_id = r.file_id AND f.status IN ('waiting', 'processing')
    RETURNING f.duration_ms, f.detection_count
)
SELECT count(*) AS files, coalesce(sum(detection_count), 0)::bigint AS detections,
    coalesce(sum(duration_ms), 0)::bigint AS audio_ms
FROM changed

-- name: fail_files
-- Stores the failures of files that had no result. Returns their number.
WITH changed AS (
    UPDATE detection_files f SET status = 'failed', error_reason = r.reason, error_message = r.message
    FROM unnest($2::uuid[], $3::text[], $4::text[]) AS r (file_id, reason, message)
    WHERE f.detection_job_id = $1 AND f.file_id = r.file_id AND f.status IN ('waiting', 'processing')
    RETURNING f.file_id
)
SELECT count(*) FROM changed

-- name: advance
-- Adds to the figures of the current attempt's job under the revision after $4, and extends its lease; no row for any
-- other attempt or revision. A result resets the count of losses.
UPDATE detection_jobs
SET revision = revision + 1, lease_until = now() + make_interval(secs => $3), losses = 0,
    completed_files = completed_files + $5, failed_files = failed_files + $6,
    total_detections = total_detections + $7, audio_ms = audio_ms + $8, eta = $9
WHERE id = $1 AND attempt = $2 AND status = 'processing' AND revision = $4
RETURNING *

-- name: unfinished_files
-- The number of the job's files without a result.
SELECT count(*) FROM detection_files WHERE detection_job_id = $1 AND status IN ('waiting', 'processing')

-- name: release_files
-- Lets the next attempt begin those files anew that the last one worked on. If it was lost, this counts for each of them.
UPDATE detection_files SET status = 'waiting', losses = losses + CASE WHEN $2 THEN 1 ELSE 0 END
WHERE detection_job_id = $1 AND status = 'processing'
RETURNING file_id, losses

-- name: finish
-- Ends the job on behalf of its current attempt; no row for any other attempt.
UPDATE detection_jobs
SET status = $3, finished_at = now(), lease_until = NULL, eta = NULL, revision = revision + 1,
    error_reason = $4, error_message = $5
WHERE id = $1 AND attempt = $2 AND status = 'processing'
RETURNING *

-- name: cancel_waiting
-- Cancels a pending or queued job; no row in any other state.
UPDATE detection_jobs SET status = 'cancelled', finished_at = now(), not_before = NULL, revision = revision + 1
WHERE tenant_id = $1 AND id = $2 AND status IN ('pending', 'queued')
RETURNING *

-- name: files
-- A page of a job's files after a position, in their order. A filter that is empty matches every file.
SELECT position, file_id, filename, status, duration_ms, detection_count, error_reason, error_message
FROM detection_file_details
WHERE detection_job_id = $1 AND position > $2 AND (cardinality($4::text[]) = 0 OR status = ANY ($4))
ORDER BY position
LIMIT $3

-- name: status_counts
-- How many of a job's files have each status.
SELECT status, count(*) AS files FROM detection_file_details WHERE detection_job_id = $1 GROUP BY status ORDER BY status

-- name: failure_counts
-- Why files of a job failed: each reason with one of its messages, the most frequent first.
SELECT error_reason AS reason, count(*) AS files, min(error_message) AS example
FROM detection_file_details
WHERE detection_job_id = $1 AND status = 'failed'
GROUP BY error_reason
ORDER BY files DESC, reason

-- name: latest_of_model
-- The newest completed job of a model over a dataset.
SELECT * FROM detection_jobs
WHERE tenant_id = $1 AND model_id = $2 AND dataset_id = $3 AND status = 'completed'
ORDER BY id DESC
LIMIT 1

-- name: scores
-- Completed files from a position on, in their order, with their scores. A filter that is empty matches every file.
SELECT position, file_id, filename, scores
FROM detection_files
WHERE detection_job_id = $1 AND position >= $2 AND status = 'completed'
    AND (cardinality($4::uuid[]) = 0 OR file_id = ANY ($4))
ORDER BY position
LIMIT $3

-- name: add_recording
-- Adds an uploaded recording.
INSERT INTO recordings (id, tenant_id, filename, size_bytes, sha256) VALUES ($1, $2, $3, $4, $5)

-- name: get_recording
-- One recording.
SELECT id, filename, size_bytes, sha256 FROM recordings WHERE tenant_id = $1 AND id = $2

-- name: foreign_recordings
-- Those of the given recordings that exist; they belong to other jobs if they cannot be taken.
SELECT id FROM recordings WHERE tenant_id = $1 AND id = ANY ($2::uuid[])

-- name: delete_recordings
-- Deletes a job's recordings.
DELETE FROM recordings WHERE detection_job_id = $1 RETURNING id

-- name: delete_unused_recordings
-- Deletes recordings that no job has taken for $1 seconds.
DELETE FROM recordings
WHERE id IN (SELECT id FROM recordings
             WHERE detection_job_id IS NULL AND created_at < now() - make_interval(secs => $1)
             ORDER BY id LIMIT 1000 FOR UPDATE SKIP LOCKED)
RETURNING tenant_id, id

-- name: delete
-- Deletes a job with its attempts, files and results.
DELETE FROM detection_jobs WHERE id = $1
