-- name: sets_of_dataset
-- A dataset's annotation sets, locked until the transaction ends.
SELECT id, status FROM annotation_sets WHERE dataset_id = $1 ORDER BY id FOR UPDATE

-- name: files_of_dataset
-- A dataset's audio files.
SELECT id FROM audio_files WHERE dataset_id = $1 ORDER BY id

-- name: sets_with_file
-- The published sets that annotate a file, locked until the transaction ends.
SELECT id FROM annotation_sets s
WHERE s.dataset_id = $1 AND s.status = 'published'
    AND EXISTS (SELECT FROM annotations a WHERE a.annotation_set_id = s.id AND a.audio_file_id = $2)
ORDER BY id FOR UPDATE

-- name: jobs
-- The jobs of a dataset, or of one of its sets, locked until the transaction ends.
SELECT id FROM training_jobs
WHERE dataset_id = $1 AND ($2::uuid IS NULL OR annotation_set_id = $2)
ORDER BY id FOR UPDATE

-- name: models_of_jobs
-- The models of the given jobs, locked until the transaction ends: a job that starts from one waits.
SELECT id FROM models WHERE training_job_id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE

-- name: aliases
-- The aliases of the given models, locked until the transaction ends. The models are locked, so they get no further one.
SELECT alias FROM model_aliases WHERE model_id = ANY ($1::uuid[]) ORDER BY alias FOR UPDATE

-- name: unfinished_jobs
-- A tenant's unfinished jobs among the given ones, of the given dataset, or that start from one of the given models.
SELECT id FROM training_jobs
WHERE tenant_id = $1 AND status IN ('pending', 'queued', 'training')
    AND (id = ANY ($2::uuid[]) OR dataset_id = $3 OR config ->> 'base_model_id' = ANY ($4::text[]))
ORDER BY id

-- name: delete_attempts
-- Deletes the attempts of the given jobs.
DELETE FROM training_attempts WHERE training_job_id = ANY ($1::uuid[])

-- name: unsweep_jobs
-- Lets a sweep look again at the objects of the jobs whose models will be deleted.
UPDATE training_jobs SET sweeps_needed = sweeps_needed + 1
WHERE id IN (SELECT training_job_id FROM models WHERE id = ANY ($1::uuid[]))

-- name: remove_aliases
-- Removes the aliases of the given models.
UPDATE model_aliases SET model_id = NULL, version = version + 1, moved_at = now(), moved_by = $2
WHERE model_id = ANY ($1::uuid[])

-- name: delete_models
-- Deletes the given models.
DELETE FROM models WHERE id = ANY ($1::uuid[])

-- name: delete_jobs
-- Deletes the given jobs.
DELETE FROM training_jobs WHERE id = ANY ($1::uuid[])

-- name: delete_annotations
-- Deletes the annotations of the given sets and files. Returns their number, and the sets that had some.
WITH deleted AS (
    DELETE FROM annotations WHERE annotation_set_id = ANY ($1::uuid[]) OR audio_file_id = ANY ($2::uuid[])
    RETURNING annotation_set_id
)
SELECT count(*) AS number, coalesce(array_agg(DISTINCT annotation_set_id), '{}') AS set_ids FROM deleted

-- name: recount_sets
-- Gives sets that lost annotations their next revision, and published ones their new totals.
UPDATE annotation_sets s SET revision = revision + 1, totals = CASE WHEN status = 'published' THEN coalesce(
    (SELECT jsonb_object_agg(t.artifact_type, jsonb_build_object('count', t.count, 'duration_ms', t.duration_ms))
     FROM (SELECT artifact_type, count(*) AS count, sum(end_ms - start_ms) AS duration_ms
           FROM annotations WHERE annotation_set_id = s.id GROUP BY artifact_type) t),
    '{}') END
WHERE id = ANY ($1::uuid[])

-- name: delete_sets
-- Deletes the given sets, whose annotations are deleted.
DELETE FROM annotation_sets WHERE id = ANY ($1::uuid[])

-- name: draw_revisions
-- Gives the datasets of the given files their next revision.
UPDATE datasets SET audio_revision = audio_revision + 1
WHERE id IN (SELECT dataset_id FROM audio_files WHERE id = ANY ($1::uuid[]))

-- name: lock_results
-- Locks the results of detection jobs in the given files, which are deleted with them.
SELECT FROM detection_files WHERE audio_file_id = ANY ($1::uuid[])
ORDER BY detection_job_id, position FOR UPDATE

-- name: delete_files
-- Deletes the given files, whose annotations are deleted.
DELETE FROM audio_files WHERE id = ANY ($1::uuid[])

-- name: delete_datasets
-- Deletes the given datasets with their artifact types.
DELETE FROM datasets WHERE id = ANY ($1::uuid[])
