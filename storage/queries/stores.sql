-- name: adopt
-- Records the id of the object store that belongs to this database, if none is recorded.
INSERT INTO object_store (id) VALUES ($1) ON CONFLICT DO NOTHING

-- name: get
-- The id of the object store that belongs to this database.
SELECT id FROM object_store
