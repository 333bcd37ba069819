-- name: create_tenant
-- Adds a tenant; no row if there is one with this id.
INSERT INTO tenants (id, display_name) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING RETURNING *

-- name: tenant_exists
-- Whether there is this tenant.
SELECT true FROM tenants WHERE id = $1

-- name: tenants
-- A page of the tenants, in order of their ids.
SELECT * FROM tenants WHERE $1::text IS NULL OR id > $1 ORDER BY id LIMIT $2

-- name: any_key
-- Whether there ever was a key.
SELECT EXISTS (SELECT FROM api_keys)

-- name: lock
-- Until the transaction ends, no other key is made.
SELECT pg_advisory_xact_lock(hashtextextended('earmark api keys', 0))

-- name: create
-- Adds a key that is valid for $7 seconds; without them, until it is revoked.
INSERT INTO api_keys (id, tenant_id, name, lookup, sha256, scopes, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(secs => $7))
RETURNING *

-- name: get
-- One key, whoever's it is.
SELECT * FROM api_keys WHERE id = $1

-- name: lock_for_update
-- Until the transaction ends, nobody else changes the key. Whether it is valid.
SELECT revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now()) AS is_valid
FROM api_keys WHERE id = $1 FOR UPDATE

-- name: page
-- A page of the keys, newest first; of one tenant if one is given.
SELECT * FROM api_keys WHERE ($1 = '' OR tenant_id = $1) AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3

-- name: expire
-- Lets a key expire in so many seconds, unless it does so before.
UPDATE api_keys SET expires_at = least(expires_at, now() + make_interval(secs => $2)) WHERE id = $1 RETURNING *

-- name: revoke
-- Revokes a key, unless it was revoked before.
UPDATE api_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING *

-- name: valid
-- The valid keys with these lookups, and the seconds until each expires.
SELECT id, tenant_id, name, lookup, sha256, scopes,
    extract(epoch FROM expires_at - now())::float8 AS seconds_left
FROM api_keys
WHERE lookup = ANY ($1::text[]) AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())

-- name: mark_used
-- Records that calls used these keys, so many seconds ago. Locked in one order, as several gateways do it.
WITH used AS MATERIALIZED (
    SELECT k.id, u.seconds FROM api_keys k JOIN unnest($1::uuid[], $2::float8[]) AS u (id, seconds) USING (id)
    ORDER BY k.id FOR NO KEY UPDATE OF k
)
UPDATE api_keys k SET last_used_at = greatest(k.last_used_at, now() - make_interval(secs => used.seconds))
FROM used WHERE k.id = used.id
