-- name: record
-- Adds an event with the revision that was just assigned to its job, after the job's other events in the log. The lock
-- on the job's row orders the events. Transaction ids alone do not: an older transaction may get a later revision.
INSERT INTO training_events (training_job_id, revision, attempt, tenant_id, status, body, xid)
VALUES ($1, $2, $3, $4, $5, $6, greatest(
    pg_current_xact_id(),
    (SELECT xid FROM training_events WHERE training_job_id = $1 AND revision < $2 ORDER BY revision DESC LIMIT 1)))

-- name: of_job
-- A job's events after a revision, in order.
SELECT training_job_id, revision, attempt, time, body FROM training_events
WHERE training_job_id = $1 AND revision > $2
ORDER BY revision
LIMIT $3

-- name: log
-- A tenant's log after a key. Every row has the log's state; if no event follows, one row has the state alone.
-- pg_snapshot_xmin, the id of the oldest running transaction, is the watermark: no transaction can still add an event
-- below it.
SELECT l.era, coalesce(c.compactions, 0) AS compactions, c.xid AS compacted_xid,
    c.training_job_id AS compacted_job_id, c.revision AS compacted_revision, e.*
FROM training_log l
LEFT JOIN training_log_compactions c ON c.tenant_id = $1
LEFT JOIN LATERAL (
    SELECT n.xid, n.training_job_id, n.revision, n.xid < pg_snapshot_xmin(pg_current_snapshot()) AS below_watermark,
        n.attempt, n.time, CASE WHEN m.matches THEN n.body END AS body
    FROM training_events n
    JOIN training_jobs j ON j.id = n.training_job_id
    CROSS JOIN LATERAL (
        SELECT ($6::uuid IS NULL OR j.dataset_id = $6) AND (cardinality($7::text[]) = 0 OR n.status = ANY ($7))
            AND j.metadata @> $8 AS matches
    ) m
    WHERE n.tenant_id = $1 AND (n.xid, n.training_job_id, n.revision) > ($2, $3, $4)
    ORDER BY n.xid, n.training_job_id, n.revision
    LIMIT $5
) e ON true
ORDER BY e.xid, e.training_job_id, e.revision

-- name: log_end
-- The last event below the watermark of a tenant's log, with the log's state; without such an event, the state alone.
SELECT l.era, coalesce(c.compactions, 0) AS compactions, c.xid AS compacted_xid,
    c.training_job_id AS compacted_job_id, c.revision AS compacted_revision, e.*
FROM training_log l
LEFT JOIN training_log_compactions c ON c.tenant_id = $1
LEFT JOIN LATERAL (
    SELECT n.xid, n.training_job_id, n.revision FROM training_events n
    WHERE n.tenant_id = $1 AND n.xid < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY n.xid DESC, n.training_job_id DESC, n.revision DESC
    LIMIT 1
) e ON true

-- name: log_has
-- Whether a tenant's log has an event with this key.
SELECT EXISTS (
    SELECT FROM training_events
    WHERE training_job_id = $3 AND revision = $4 AND tenant_id = $1 AND xid = $2
)

-- name: compact
-- Removes all but the last event of up to $2 jobs that finished more than $1 days ago, and counts these jobs.
WITH old AS (
    SELECT id, revision FROM training_jobs
    WHERE finished_at < now() - $1::float8 * interval '1 day' AND compacted_revision = 0
    ORDER BY finished_at LIMIT $2 FOR UPDATE SKIP LOCKED
), removed AS (
    DELETE FROM training_events e USING old WHERE e.training_job_id = old.id AND e.revision < old.revision
    RETURNING e.tenant_id, e.xid, e.training_job_id, e.revision
), updated_jobs AS (
    UPDATE training_jobs j SET compacted_revision = old.revision - 1 FROM old WHERE j.id = old.id
), updated_state AS (
    INSERT INTO training_log_compactions AS c (tenant_id, compactions, xid, training_job_id, revision)
    SELECT DISTINCT ON (tenant_id) tenant_id, 1, xid, training_job_id, revision FROM removed
    ORDER BY tenant_id, xid DESC, training_job_id DESC, revision DESC
    ON CONFLICT (tenant_id) DO UPDATE
    SET compactions = c.compactions + 1,
        (xid, training_job_id, revision) = (
            SELECT p.xid, p.training_job_id, p.revision
            FROM (VALUES (c.xid, c.training_job_id, c.revision),
                         (excluded.xid, excluded.training_job_id, excluded.revision)
                 ) AS p (xid, training_job_id, revision)
            ORDER BY p.xid DESC, p.training_job_id DESC, p.revision DESC LIMIT 1)
)
SELECT count(*) FROM old

-- name: is_restored
-- Whether an event has a transaction id that this cluster has not reached: the database comes from another cluster.
-- The query steps from tenant to tenant because the index starts with the tenant.
WITH RECURSIVE tenants AS (
    SELECT min(tenant_id) AS tenant_id FROM training_events
    UNION ALL
    SELECT (SELECT min(tenant_id) FROM training_events WHERE tenant_id > t.tenant_id)
    FROM tenants t WHERE t.tenant_id IS NOT NULL
)
SELECT EXISTS (
    SELECT FROM tenants t
    WHERE EXISTS (SELECT FROM training_events e
                  WHERE e.tenant_id = t.tenant_id AND e.xid >= pg_snapshot_xmax(pg_current_snapshot()))
)

-- name: reset_events
-- Moves all events before every future one; each job's events keep their order.
UPDATE training_events SET xid = '0'

-- name: delete_compactions
-- Deletes the records of removals, because no event has been removed from the log of the new era.
DELETE FROM training_log_compactions

-- name: start_era
-- Starts a new era, which invalidates all cursors issued so far.
UPDATE training_log SET era = gen_random_uuid()
