-- The events of all jobs of a tenant as one log, that can be read in an order in which nothing comes late; and the
-- removal of old events.

ALTER TABLE training_jobs
    -- Its events up to this one were removed; 0 where all are kept.
    ADD COLUMN compacted_revision bigint NOT NULL DEFAULT 0;
-- Of no column that changes while a job trains: that would cost every update an entry in each index.
CREATE INDEX training_jobs_uncompacted ON training_jobs (finished_at)
    WHERE finished_at IS NOT NULL AND compacted_revision = 0;

ALTER TABLE training_events
    ADD COLUMN tenant_id text,
    -- The job's, after the event.
    ADD COLUMN status text,
    -- Its place in the log: the id of its transaction, or that of the event before it where that is higher.
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

-- One row. Cursors of another era are of no use: transaction ids started again.
CREATE TABLE training_log (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    era uuid NOT NULL DEFAULT gen_random_uuid()
);
INSERT INTO training_log DEFAULT VALUES;

-- Of each tenant whose events were removed: how many times, and the place of the last one among them.
CREATE TABLE training_log_compactions (
    tenant_id text PRIMARY KEY,
    compactions bigint NOT NULL,
    xid xid8 NOT NULL,
    training_job_id uuid NOT NULL,
    revision bigint NOT NULL
);
