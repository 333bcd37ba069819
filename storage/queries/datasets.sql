-- name: create
-- Adds a dataset without types.
INSERT INTO datasets (id, tenant_id, name, description) VALUES ($1, $2, $3, $4)

-- name: get
-- One dataset with its types in order and its counts.
SELECT id, name, description, version, artifact_types, audio_count, annotation_set_count, created_at, updated_at
FROM dataset_details
WHERE tenant_id = $1 AND id = $2

-- name: exists
-- Whether the tenant has this dataset.
SELECT true FROM datasets WHERE tenant_id = $1 AND id = $2

-- name: missing
-- One of the given datasets that the tenant does not have.
SELECT id FROM unnest($2::uuid[]) AS wanted (id)
WHERE NOT EXISTS (SELECT FROM datasets d WHERE d.tenant_id = $1 AND d.id = wanted.id)
LIMIT 1

-- name: list
-- A page of a tenant's datasets, newest first.
SELECT id, name, description, version, artifact_types, audio_count, annotation_set_count, created_at, updated_at
FROM dataset_details
WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)
ORDER BY id DESC
LIMIT $3

-- name: lock_for_update
-- Locks a dataset until the transaction ends: edits and deletions by others wait.
SELECT id FROM datasets WHERE tenant_id = $1 AND id = $2 FOR UPDATE

-- name: lock_for_key_share
-- Prevents the deletion of a dataset, its types and its files; other edits and uploads do not wait.
SELECT id FROM datasets WHERE tenant_id = $1 AND id = $2 FOR KEY SHARE

-- name: update
-- Replaces name and description.
UPDATE datasets SET name = $3, description = $4, version = version + 1, updated_at = now()
WHERE tenant_id = $1 AND id = $2

-- name: delete_types
-- Deletes all types but the given ones. The database rejects this if annotations use a deleted type.
DELETE FROM artifact_types WHERE dataset_id = $1 AND name <> ALL ($2::text[])

-- name: put_type
-- Adds or changes a type.
INSERT INTO artifact_types (tenant_id, dataset_id, name, description, color, position)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT ON CONSTRAINT artifact_types_name_unique
DO UPDATE SET description = excluded.description, color = excluded.color, position = excluded.position

-- name: types_in_use
-- Those of the given types that annotations use.
SELECT t.name FROM unnest($2::text[]) AS t (name)
WHERE EXISTS (SELECT FROM annotations a WHERE a.dataset_id = $1 AND a.artifact_type = t.name)
ORDER BY t.name
