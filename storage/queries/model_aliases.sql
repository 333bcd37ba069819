-- name: get
-- One alias that names a model.
SELECT alias, model_id, version, moved_at FROM model_aliases
WHERE tenant_id = $1 AND alias = $2 AND model_id IS NOT NULL

-- name: lock_for_update
-- Locks an alias until the transaction ends, also one that was removed.
SELECT alias FROM model_aliases WHERE tenant_id = $1 AND alias = $2 FOR UPDATE

-- name: set
-- Makes an alias name a model. Nothing changes if it does already.
INSERT INTO model_aliases AS a (tenant_id, alias, model_id, moved_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (tenant_id, alias) DO UPDATE
SET model_id = excluded.model_id, version = a.version + 1, moved_at = now(), moved_by = excluded.moved_by
WHERE a.model_id IS DISTINCT FROM excluded.model_id

-- name: remove
-- Removes an alias.
UPDATE model_aliases SET model_id = NULL, version = version + 1, moved_at = now(), moved_by = $3
WHERE tenant_id = $1 AND alias = $2

-- name: list
-- A page of a tenant's aliases, in alphabetical order. A filter that is empty matches every alias.
SELECT alias, model_id, version, moved_at FROM model_aliases
WHERE tenant_id = $1 AND ($2::text IS NULL OR alias > $2) AND model_id IS NOT NULL
    AND (cardinality($4::uuid[]) = 0 OR model_id = ANY ($4))
    AND (cardinality($5::text[]) = 0 OR alias = ANY ($5))
ORDER BY alias
LIMIT $3

-- name: with_prefix
-- The first aliases that begin so.
SELECT alias FROM model_aliases
WHERE tenant_id = $1 AND alias >= $2 AND starts_with(alias, $2) AND model_id IS NOT NULL
ORDER BY alias
LIMIT $3

-- name: moves
-- A page of an alias's moves, newest first.
SELECT version, from_model_id, to_model_id, moved_at, moved_by FROM model_alias_moves
WHERE tenant_id = $1 AND alias = $2 AND ($3::integer IS NULL OR version < $3)
ORDER BY version DESC
LIMIT $4
