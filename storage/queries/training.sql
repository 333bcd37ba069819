-- name: facts
-- What the prerequisites of a job are judged by, in one snapshot. A draft's annotations are counted on the spot.
SELECT s.dataset_id, s.version, s.status,
    coalesce(
        (SELECT jsonb_object_agg(t.key, t.value -> 'count') FROM jsonb_each(s.totals) t),
        (SELECT jsonb_object_agg(c.artifact_type, c.count)
         FROM (SELECT artifact_type, count(*) FROM annotations WHERE annotation_set_id = s.id GROUP BY 1) c),
        '{}'
    ) AS annotations_by_type,
    (SELECT coalesce(array_agg(name ORDER BY position), '{}') FROM artifact_types WHERE dataset_id = $2) AS types,
    (SELECT coalesce(jsonb_agg(a), '[]')
     FROM (SELECT processing_status AS status, count(*), sum(duration_ms) AS duration_ms,
                  (array_agg(id ORDER BY id))[1:5] AS first_ids
           FROM audio_files WHERE dataset_id = $2 GROUP BY 1 ORDER BY 1) a) AS audio
FROM annotation_sets s
WHERE s.tenant_id = $1 AND s.id = $3

-- name: create
-- A new job, pending.
INSERT INTO training_jobs
    (id, tenant_id, dataset_id, annotation_set_id, config, metadata, total_epochs, revision)
VALUES ($1, $2, $3, $4, $5, $6, $7, 1)
RETURNING *

-- name: get
-- One job.
SELECT * FROM training_jobs WHERE tenant_id = $1 AND id = $2

-- name: page
-- A page of a tenant's jobs, newest first.
SELECT * FROM training_jobs
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
    AND ($3::uuid IS NULL OR dataset_id = $3) AND ($4::text IS NULL OR status = $4)
ORDER BY id DESC
LIMIT $5

-- name: add_event
-- An event under the revision that its job's row was just given.
INSERT INTO training_events (training_job_id, revision, attempt, body) VALUES ($1, $2, $3, $4)

-- name: events
-- A job's events behind a revision, in order.
SELECT training_job_id, revision, attempt, time, body FROM training_events
WHERE training_job_id = $1 AND revision > $2
ORDER BY revision
LIMIT $3

-- name: queue
-- The pending jobs become queued, in order of creation.
UPDATE training_jobs SET status = 'queued', queued_at = now(), revision = revision + 1
WHERE id IN (SELECT id FROM training_jobs WHERE status = 'pending' ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING *

-- name: claim
-- The job that has waited longest starts its next attempt, with a lease of $1 seconds.
UPDATE training_jobs
SET status = 'training', attempt = attempt + 1, lease_until = now() + make_interval(secs => $1),
    started_at = coalesce(started_at, now()), revision = revision + 1
WHERE id = (SELECT id FROM training_jobs WHERE status = 'queued' ORDER BY queued_at, id LIMIT 1
            FOR UPDATE SKIP LOCKED)
RETURNING *

-- name: manifest
-- The ready files that the job was created on, each with its annotations of the chosen types.
SELECT a.id, a.sha256, a.duration_ms, m.artifact_types, m.start_ms, m.end_ms
FROM audio_files a
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(n.artifact_type ORDER BY n.start_ms, n.id), '{}') AS artifact_types,
           coalesce(array_agg(n.start_ms ORDER BY n.start_ms, n.id), '{}') AS start_ms,
           coalesce(array_agg(n.end_ms ORDER BY n.start_ms, n.id), '{}') AS end_ms
    FROM annotations n
    WHERE n.audio_file_id = a.id AND n.annotation_set_id = $2 AND n.artifact_type = ANY ($3::text[])
) m
WHERE a.dataset_id = $1 AND a.processing_status = 'ready' AND a.updated_at <= $4
ORDER BY a.id

-- name: renew
-- A longer lease for the current attempt; no row where it is no longer the current one.
UPDATE training_jobs SET lease_until = now() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND status = 'training'
RETURNING cancel_requested

-- name: advance
-- The current attempt's new figures, under a new revision, and a longer lease; no row for another attempt.
UPDATE training_jobs
SET revision = revision + 1, lease_until = now() + make_interval(secs => $3),
    progress = coalesce($4, progress), current_epoch = coalesce($5, current_epoch),
    best_epoch = coalesce($6, best_epoch), metrics = coalesce($7, metrics), eta = coalesce($8, eta)
WHERE id = $1 AND attempt = $2 AND status = 'training'
RETURNING *

-- name: set_checkpoint
-- Where the next attempt would go on, and where it would have before; no row for another attempt.
UPDATE training_jobs AS new SET checkpoint = $3
FROM training_jobs AS old
WHERE new.id = $1 AND old.id = new.id AND new.attempt = $2 AND new.status = 'training'
RETURNING old.checkpoint

-- name: finish
-- The current attempt ends the job; no row for another attempt.
UPDATE training_jobs
SET status = $3, finished_at = now(), lease_until = NULL, eta = NULL, checkpoint = NULL, revision = revision + 1,
    model_id = $4, error_reason = $5, error_message = $6, metrics = coalesce($7, metrics),
    best_epoch = coalesce($8, best_epoch),
    progress = CASE WHEN $3 = 'completed' THEN 1 ELSE progress END
WHERE id = $1 AND attempt = $2 AND status = 'training'
RETURNING *

-- name: requeue
-- The current attempt is over, and the job waits for the next; no row for another attempt.
UPDATE training_jobs
SET status = 'queued', queued_at = now(), lease_until = NULL, eta = NULL, losses = losses + $3,
    revision = revision + 1
WHERE id = $1 AND attempt = $2 AND status = 'training'
RETURNING *

-- name: expired
-- Jobs whose gateway has been silent for longer than the lease.
SELECT * FROM training_jobs
WHERE status = 'training' AND lease_until < now()
ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED

-- name: cancel_waiting
-- Ends a job that no trainer has; no row where it is in another state.
UPDATE training_jobs SET status = 'cancelled', finished_at = now(), checkpoint = NULL, revision = revision + 1
WHERE tenant_id = $1 AND id = $2 AND status IN ('pending', 'queued')
RETURNING *

-- name: request_cancel
-- Asks whoever holds the lease to stop; no row where nobody does.
UPDATE training_jobs SET cancel_requested = true
WHERE tenant_id = $1 AND id = $2 AND status = 'training'
RETURNING *

-- name: lock
-- The job as it is, until the end of the transaction.
SELECT * FROM training_jobs WHERE tenant_id = $1 AND id = $2 FOR UPDATE
