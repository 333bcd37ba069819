-- name: create
-- A new dataset, without types yet.
INSERT INTO datasets (id, tenant_id, name, description) VALUES ($1, $2, $3, $4)

-- name: get
-- One dataset with its types in order and its counts.
SELECT id, name, description, version, artifact_types, audio_count, annotation_set_count, created_at, updated_at
FROM dataset_details
WHERE tenant_id = $1 AND id = $2

-- name: list
-- A page of a tenant's datasets, newest first.
SELECT id, name, description, version, artifact_types, audio_count, annotation_set_count, created_at, updated_at
FROM dataset_details
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3

-- name: lock_for_update
-- Keeps a dataset as it is until the end of the transaction: edits and deletes of it wait.
SELECT id FROM datasets WHERE tenant_id = $1 AND id = $2 FOR UPDATE

-- name: lock_for_key_share
-- Keeps a dataset, its types and its files: deletes of them wait, other edits and uploads do not.
SELECT id FROM datasets WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE

-- name: update
-- New name and description.
UPDATE datasets SET name = $3, description = $4, version = version + 1, updated_at = now()
WHERE tenant_id = $1 AND id = $2

-- name: delete_types
-- Types that are no longer among the dataset's. Refused by the database while annotations have one.
DELETE FROM artifact_types WHERE dataset_id = $1 AND name <> ALL ($2::text[])

-- name: put_type
-- Adds a type or changes it.
INSERT INTO artifact_types (dataset_id, name, description, color, position) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT ON CONSTRAINT artifact_types_name_unique
DO UPDATE SET description = excluded.description, color = excluded.color, position = excluded.position

-- name: types_in_use
-- Of the given types, those that some annotation has.
SELECT t.name FROM unnest($2::text[]) AS t (name)
WHERE EXISTS (SELECT FROM annotations a WHERE a.dataset_id = $1 AND a.artifact_type = t.name)
ORDER BY t.name

-- name: dependents
-- What forbids deleting the dataset.
SELECT
    (SELECT count(*) FROM annotation_sets WHERE dataset_id = $1 AND status = 'published') AS published_sets,
    (SELECT count(*) FROM training_jobs WHERE dataset_id = $1) AS training_jobs

-- name: delete_drafts
-- The dataset's drafts with their annotations.
DELETE FROM annotation_sets WHERE dataset_id = $1 AND status = 'draft'

-- name: delete_audio
-- The dataset's audio files.
DELETE FROM audio_files WHERE dataset_id = $1 RETURNING id

-- name: delete
-- The dataset itself, with its types.
DELETE FROM datasets WHERE id = $1
