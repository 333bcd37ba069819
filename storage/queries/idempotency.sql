-- name: claim
-- Claims a request_id; no row if it is already claimed.
INSERT INTO requests (tenant_id, request_id, body_sha256) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING true

-- name: reply
-- The reply to the first request with this id.
SELECT body_sha256, reply FROM requests WHERE tenant_id = $1 AND request_id = $2

-- name: store_reply
-- Stores the reply under a claimed id.
UPDATE requests SET reply = $3 WHERE tenant_id = $1 AND request_id = $2

-- name: delete_old
-- Deletes replies older than 24 hours.
DELETE FROM requests WHERE created_at < now() - interval '24 hours'
