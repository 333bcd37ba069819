-- name: record
-- Adds an event of a job with the revision that was just assigned under the lock on the job's row.
INSERT INTO events
    (tenant_id, resource, resource_id, dataset_id, kind, status, attempt, revision, metadata, body)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)

-- name: of_job
-- A job's events after a revision, in order.
SELECT sequence, time, resource, resource_id, dataset_id, kind, status, attempt, revision, metadata, body
FROM events
WHERE resource_id = $1 AND revision > $2
ORDER BY revision
LIMIT $3

-- name: of_kind
-- A job's events of one kind, in order.
SELECT sequence, time, resource, resource_id, dataset_id, kind, status, attempt, revision, metadata, body
FROM events
WHERE resource_id = $1 AND kind = $2
ORDER BY revision

-- name: log
-- A tenant's log from an event on. Every row has the log's state; without events, one row has the state alone.
SELECT coalesce(l.last_sequence, 0) AS last_sequence, coalesce(l.compacted_sequence, 0) AS compacted_sequence, e.*
FROM (VALUES ($1::text)) AS t (tenant_id)
LEFT JOIN tenant_logs l USING (tenant_id)
LEFT JOIN LATERAL (
    SELECT sequence, time, resource, resource_id, dataset_id, kind, status, attempt, revision, metadata, body
    FROM events n
    WHERE n.tenant_id = t.tenant_id AND n.sequence >= $2
    ORDER BY n.sequence
    LIMIT $3
) e ON true
ORDER BY e.sequence

-- name: log_end
-- The state of a tenant's log, and the time of its last event, if that is kept.
SELECT l.last_sequence, l.compacted_sequence, e.time
FROM tenant_logs l
LEFT JOIN events e ON e.tenant_id = l.tenant_id AND e.sequence = l.last_sequence
WHERE l.tenant_id = $1

-- name: tenants
-- The tenants that have a log.
SELECT tenant_id FROM tenant_logs ORDER BY tenant_id

-- name: lock_compaction
-- Lets one transaction at a time remove events; false if another one does.
SELECT pg_try_advisory_xact_lock(hashtextextended('earmark compaction', 0))

-- name: remove_superseded
-- Walks on over up to $3 events that are at least $2 days old. For each resource that they belong to, removes the events
-- before the last one of them, and this one too if it is the resource's deletion. Returns the last number walked over.
-- The age is counted in whole hours, so that a replay of the kept events can be resumed for some time.
WITH walked AS (
    SELECT e.sequence, e.resource_id, e.kind,
        e.time < date_trunc('hour', now() - $2::float8 * interval '1 day') AS is_old
    FROM events e
    WHERE e.tenant_id = $1 AND e.sequence > (SELECT compacted_sequence FROM tenant_logs WHERE tenant_id = $1)
    ORDER BY e.sequence
    LIMIT $3
), old AS (
    SELECT * FROM walked
    WHERE sequence < coalesce((SELECT min(sequence) FROM walked WHERE NOT is_old), 9223372036854775807)
), last_old AS (
    SELECT resource_id, max(sequence) AS sequence, bool_or(kind = 'deleted') AS is_deleted FROM old GROUP BY resource_id
), removed AS (
    DELETE FROM events e USING last_old l
    WHERE e.tenant_id = $1 AND e.resource_id = l.resource_id
        AND (e.sequence < l.sequence OR (l.is_deleted AND e.sequence = l.sequence))
)
SELECT max(sequence) FROM old

-- name: set_compacted
-- Stores how far events were removed. Comes last, since it locks the tenant's row.
UPDATE tenant_logs SET compacted_sequence = $2 WHERE tenant_id = $1
