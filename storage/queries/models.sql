-- name: create
-- Adds a job's model, inactive and without a description. The database rejects a second model of the same job.
INSERT INTO models (
    id, tenant_id, training_job_id, dataset_id, name, artifact_types, eval_metrics, recommended_thresholds,
    merge_windows_ms, min_durations_ms, weights, model_config, size_bytes, sha256, config, best_epoch,
    audio_file_count, audio_duration_ms, earmark_version, frontend_version, name_key, annotation_set_id,
    annotation_set_version
)
SELECT $1, $2, j.id, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, s.id, s.version
FROM training_jobs j JOIN annotation_sets s ON s.id = j.annotation_set_id
WHERE j.id = $3

-- name: get
-- One model, archived or not.
SELECT * FROM model_details WHERE tenant_id = $1 AND id = $2

-- name: get_by_alias
-- The model that an alias names. In one statement, so that the alias cannot move before the model is read.
SELECT * FROM model_details
WHERE tenant_id = $1 AND id = (SELECT model_id FROM model_aliases WHERE tenant_id = $1 AND alias = $2)

-- name: lock_for_update
-- Locks a model until the transaction ends: edits and deletions by others wait.
SELECT id FROM models WHERE tenant_id = $1 AND id = $2 FOR UPDATE

-- name: lock_job
-- Locks the job that a model comes from, until the transaction ends. Who locks both locks the job first.
SELECT id FROM training_jobs
WHERE id = (SELECT training_job_id FROM models WHERE tenant_id = $1 AND id = $2)
FOR UPDATE

-- name: lock_for_key_share
-- Prevents the deletion of a model; other edits do not wait.
SELECT id FROM models WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE

-- name: list
-- A page of a tenant's models, newest first. A filter that is null or empty matches every model.
SELECT * FROM model_details
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
    AND ($4::boolean IS NULL OR is_active = $4)
    AND (cardinality($5::text[]) = 0 OR artifact_types && $5)
    AND (cardinality($6::uuid[]) = 0 OR dataset_id = ANY ($6))
    AND ($7::boolean OR deleted_at IS NULL)
    AND (cardinality($8::text[]) = 0 OR name_key = ANY ($8))
    AND ($9::text IS NULL OR name_key LIKE $9)
ORDER BY id DESC
LIMIT $3

-- name: update
-- Replaces name, description and is_active.
UPDATE models
SET name = $3, description = $4, is_active = $5, name_key = $6, version = version + 1, updated_at = now()
WHERE tenant_id = $1 AND id = $2

-- name: archive
-- Archives a model, which hides it from lists. An archived one does not change.
UPDATE models SET deleted_at = now(), version = version + 1, updated_at = now()
WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL

-- name: restore
-- Restores an archived model.
UPDATE models SET deleted_at = NULL, version = version + 1, updated_at = now()
WHERE tenant_id = $1 AND id = $2
