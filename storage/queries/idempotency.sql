-- name: claim
-- Takes a request id; no row where it is taken already.
INSERT INTO requests (tenant_id, request_id, body_sha256) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING true

-- name: reply
-- What the first request with this id got.
SELECT body_sha256, reply FROM requests WHERE tenant_id = $1 AND request_id = $2

-- name: keep_reply
-- Stores the reply under a claimed id.
UPDATE requests SET reply = $3 WHERE tenant_id = $1 AND request_id = $2

-- name: forget_old
-- Replies are kept for 24 hours.
DELETE FROM requests WHERE created_at < now() - interval '24 hours'
