-- name: add
-- Adds entries of calls that began so many seconds ago, unless they were added before.
INSERT INTO audit_entries
    (id, request_id, called_at, tenant, api_key_id, caller, address, rpc, ids, code, reason, left_out)
SELECT e.id, e.request_id, now() - make_interval(secs => e.seconds), e.tenant, e.api_key_id, e.caller, e.address, e.rpc,
    e.ids::jsonb, e.code, e.reason, e.left_out
FROM unnest($1::uuid[], $2::uuid[], $3::float8[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::text[], $12::integer[])
    AS e (id, request_id, seconds, tenant, api_key_id, caller, address, rpc, ids, code, reason, left_out)
ON CONFLICT (id) DO NOTHING

-- name: page
-- A page of the entries, newest first. An empty filter is none; an rpc is given as it is stored or by its last part.
SELECT * FROM audit_entries
WHERE called_at >= coalesce($1::timestamptz, '-infinity') AND called_at < coalesce($2::timestamptz, 'infinity')
    AND (called_at, id) < (coalesce($3::timestamptz, 'infinity'),
        coalesce($4::uuid, 'ffffffff-ffff-ffff-ffff-ffffffffffff'))
    AND ($5 = '' OR tenant = $5)
    AND ($6::uuid IS NULL OR api_key_id = $6)
    AND ($7 = '' OR rpc = $7 OR right(rpc, length($7) + 1) = '/' || $7)
    AND ($8 = '' OR code = $8)
ORDER BY called_at DESC, id DESC LIMIT $9

-- name: delete_old
-- Removes some of the entries that are older than so many days; returns their number.
WITH deleted AS (
    DELETE FROM audit_entries WHERE id IN (
        SELECT id FROM audit_entries WHERE called_at < now() - make_interval(secs => 86400 * $1::float8)
        ORDER BY called_at, id LIMIT $2)
    RETURNING 1
)
SELECT count(*) FROM deleted
