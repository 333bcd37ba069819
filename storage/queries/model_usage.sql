-- name: of_model
-- Who uses a model: of each kind the number, and the ids of the newest $3.
WITH jobs AS (
    SELECT id FROM training_jobs
    WHERE tenant_id = $1 AND status IN ('pending', 'queued', 'training') AND config ->> 'base_model_id' = $2::uuid::text
), searches AS (
    SELECT id FROM detection_jobs
    WHERE tenant_id = $1 AND status IN ('pending', 'queued', 'processing') AND model_id = $2
), derived AS (
    SELECT id FROM models WHERE tenant_id = $1 AND config ->> 'base_model_id' = $2::uuid::text AND deleted_at IS NULL
)
SELECT (SELECT count(*) FROM jobs) AS training_job_count,
    ARRAY(SELECT id FROM jobs ORDER BY id DESC LIMIT $3) AS training_job_ids,
    (SELECT count(*) FROM searches) AS detection_job_count,
    ARRAY(SELECT id FROM searches ORDER BY id DESC LIMIT $3) AS detection_job_ids,
    (SELECT count(*) FROM derived) AS derived_model_count,
    ARRAY(SELECT id FROM derived ORDER BY id DESC LIMIT $3) AS derived_model_ids,
    coalesce((SELECT count FROM model_detections WHERE model_id = $2), 0) AS detection_count,
    (SELECT last_at FROM model_detections WHERE model_id = $2) AS last_detected_at

-- name: add_detections
-- Adds to the detections of models, the last of which ended so many seconds ago. Models that were deleted are left out.
INSERT INTO model_detections AS d (tenant_id, model_id, count, last_at)
SELECT m.tenant_id, m.id, n.count, now() - make_interval(secs => n.seconds)
FROM unnest($1::uuid[], $2::bigint[], $3::float8[]) AS n (id, count, seconds)
JOIN models m USING (id)
ORDER BY m.id
FOR KEY SHARE OF m
ON CONFLICT (model_id) DO UPDATE
SET count = d.count + excluded.count, last_at = greatest(d.last_at, excluded.last_at)
