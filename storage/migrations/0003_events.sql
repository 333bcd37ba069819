-- One log of all events of a tenant, readable in an order that never skips an event which commits late; and the
-- removal of old events.

ALTER TABLE training_jobs
    -- The job's events up to this revision were removed; 0 if all still exist.
    ADD COLUMN compacted_revision bigint NOT NULL DEFAULT 0;
-- Has no column that changes while a job trains: each such update would add an entry to every index.
CREATE INDEX training_jobs_uncompacted ON training_jobs (finished_at)
    WHERE finished_at IS NOT NULL AND compacted_revision = 0;

ALTER TABLE training_events
    ADD COLUMN tenant_id text,
    -- The job's status after the event.
    ADD COLUMN status text,
    -- The position in the log: the event's transaction id, or the job's previous xid if that is higher. Readers stop
    -- at the watermark (pg_snapshot_xmin), below which no running transaction can still add an event.
    ADD COLUMN xid xid8 NOT NULL DEFAULT '0';
UPDATE training_events e
SET tenant_id = j.tenant_id,
    status = lower(replace(
        (SELECT c.body -> 'status_changed' ->> 'to'
         FROM training_events c
         WHERE c.training_job_id = e.training_job_id AND c.revision <= e.revision AND c.body ? 'status_changed'
         ORDER BY c.revision DESC LIMIT 1),
        'TRAINING_JOB_STATUS_', ''))
FROM training_jobs j
WHERE j.id = e.training_job_id;
ALTER TABLE training_events
    ALTER COLUMN tenant_id SET NOT NULL,
    ALTER COLUMN status SET NOT NULL,
    ALTER COLUMN xid DROP DEFAULT;
CREATE INDEX training_events_log ON training_events (tenant_id, xid, training_job_id, revision);

-- One row. Cursors of another era are invalid: their transaction ids come from another cluster.
CREATE TABLE training_log (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    era uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO training_log DEFAULT VALUES;

-- For each tenant with removed events: the number of removals and the log position of the last removed event.
CREATE TABLE training_log_compactions (
    tenant_id text PRIMARY KEY,
    compactions bigint NOT NULL,
    xid xid8 NOT NULL,
    training_job_id uuid NOT NULL,
    revision bigint NOT NULL
);
