-- name: facts
-- The facts that a job's prerequisites are checked against, in one snapshot. A draft has no stored totals, so its
-- annotations are counted here.
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
-- Adds a pending job, which trains on the dataset's files as they are now.
INSERT INTO training_jobs
    (id, tenant_id, dataset_id, annotation_set_id, config, metadata, total_epochs, revision, audio_revision, traceparent)
SELECT $1, $2, id, $4, $5, $6, $7, 1, audio_revision, $8 FROM datasets WHERE id = $3
RETURNING *

-- name: get
-- One job.
SELECT * FROM training_job_details WHERE tenant_id = $1 AND id = $2

-- name: get_many
-- Those of a tenant's jobs that have these ids.
SELECT * FROM training_job_details WHERE tenant_id = $1 AND id = ANY ($2::uuid[])

-- name: page
-- A page of a tenant's jobs, newest first. A filter that is empty matches every job.
SELECT * FROM training_job_details
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
    AND (cardinality($4::uuid[]) = 0 OR dataset_id = ANY ($4))
    AND (cardinality($5::text[]) = 0 OR status = ANY ($5))
    AND metadata @> $6
ORDER BY id DESC
LIMIT $3

-- name: claim
-- Starts the next attempt of the job whose turn it is, with a lease of $1 seconds. A tenant may run as many
-- jobs at a time as its quota says, or $2; 0 stands for any number.
-- A job waits until the features of all its files are of the trainer's front end, $3.
UPDATE training_jobs
SET status = 'training', attempt = attempt + 1, lease_until = now() + make_interval(secs => $1), not_before = NULL,
    started_at = coalesce(started_at, now()), revision = revision + 1
WHERE id = (SELECT j.id FROM training_queue q JOIN training_jobs j USING (id)
            LEFT JOIN tenant_quotas l ON l.tenant_id = q.tenant_id
            WHERE q.is_due AND j.status = 'queued'
                AND q.turn <= coalesce(nullif(coalesce(l.running_training_jobs, $2::bigint), 0), q.turn)
                AND NOT EXISTS (
                    SELECT FROM audio_files a
                    WHERE a.dataset_id = j.dataset_id AND a.revision <= j.audio_revision
                        AND a.processing_status = 'ready' AND (a.frontend < $3 OR a.frontend > $3))
            ORDER BY q.turn, j.id LIMIT 1
            FOR UPDATE OF j SKIP LOCKED)
RETURNING *

-- name: places
-- The places, from 1, of those of the given jobs that are queued, and the reasons why they wait.
SELECT q.id, q.place, q.overall_place, q.turn, j.not_before, q.is_due,
    (SELECT coalesce(jsonb_object_agg(f.frontend, f.count), '{}')
     FROM (SELECT a.frontend, count(*) FROM audio_files a
           WHERE a.dataset_id = j.dataset_id AND a.revision <= j.audio_revision AND a.processing_status = 'ready'
           GROUP BY 1) f) AS files_by_frontend
FROM (SELECT *, row_number() OVER (PARTITION BY tenant_id ORDER BY is_due DESC, turn, id) AS place,
             row_number() OVER (ORDER BY is_due DESC, turn, id) AS overall_place
      FROM training_queue) q
JOIN training_jobs j USING (id)
WHERE q.id = ANY ($1::uuid[])

-- name: manifest
-- The files that were ready when the job was created, each with its annotations of the types $2 in the records of
-- TrainRequest.File. Revisions commit in their order, which timestamps do not: those are of the beginnings of
-- transactions.
SELECT a.id, a.sha256, a.duration_ms, a."group", m.annotations
FROM training_jobs j
JOIN audio_files a ON a.dataset_id = j.dataset_id AND a.revision <= j.audio_revision
CROSS JOIN LATERAL (
    SELECT coalesce(string_agg(
        int2send((array_position($2::text[], n.artifact_type) - 1)::int2) || int8send(n.start_ms)
            || int8send(n.end_ms) || float8send(n.confidence) || int2send(coalesce(n.channel, -1)::int2),
        '' ORDER BY n.start_ms, n.id
    ), '') AS annotations
    FROM annotations n
    WHERE n.audio_file_id = a.id AND n.annotation_set_id = j.annotation_set_id
        AND n.artifact_type = ANY ($2::text[])
) m
WHERE j.id = $1 AND a.processing_status = 'ready'
ORDER BY a.id

-- name: advance
-- Stores the current attempt's figures under the revision after $9 and extends its lease; no row for any other attempt
-- or revision. A checkpoint resets the count of losses.
UPDATE training_jobs
SET revision = revision + 1, lease_until = now() + make_interval(secs => $3),
    progress = coalesce($4, progress), current_epoch = coalesce($5, current_epoch),
    best_epoch = coalesce($6, best_epoch), metrics = coalesce($7, metrics), eta = coalesce($8, eta),
    checkpoint = coalesce($10, checkpoint), losses = CASE WHEN $10::text IS NULL THEN losses ELSE 0 END
WHERE id = $1 AND attempt = $2 AND status = 'training' AND revision = $9
RETURNING *

-- name: set_checkpoint
-- Stores the checkpoint from which the next attempt would resume; no row for any other attempt. A checkpoint is
-- progress, so it resets the count of losses.
UPDATE training_jobs SET checkpoint = $3, losses = 0
WHERE id = $1 AND attempt = $2 AND status = 'training'
RETURNING true

-- name: finish
-- Ends the job on behalf of its current attempt; no row for any other attempt.
UPDATE training_jobs
SET status = $3, finished_at = now(), lease_until = NULL, eta = NULL, checkpoint = NULL, revision = revision + 1,
    model_id = $4, error_reason = $5, error_message = $6, metrics = coalesce($7, metrics),
    best_epoch = coalesce($8, best_epoch),
    progress = CASE WHEN $3 = 'completed' THEN 1 ELSE progress END
WHERE id = $1 AND attempt = $2 AND status = 'training'
RETURNING *

-- name: cancel_waiting
-- Cancels a pending or queued job; no row in any other state.
UPDATE training_jobs
SET status = 'cancelled', finished_at = now(), checkpoint = NULL, not_before = NULL, revision = revision + 1
WHERE tenant_id = $1 AND id = $2 AND status IN ('pending', 'queued')
RETURNING *

