-- The statements that training jobs and detection jobs share: <kind> is training or detection, <running> the status of a
-- job that is on a trainer.

-- name: queue
-- Moves up to 100 pending jobs of one tenant to the queue, the oldest first.
UPDATE <kind>_jobs SET status = 'queued', queued_at = now(), revision = revision + 1
WHERE id IN (SELECT id FROM <kind>_jobs
             WHERE status = 'pending'
                 AND tenant_id = (SELECT tenant_id FROM <kind>_jobs WHERE status = 'pending'
                                  ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
             ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED)
RETURNING *

-- name: lock_waiting
-- Lets one transaction of a tenant at a time add a waiting job, so that the limit is not exceeded.
SELECT pg_advisory_xact_lock(hashtextextended('earmark waiting <kind> ' || $1, 0))

-- name: count_waiting
-- The number of a tenant's pending and queued jobs.
SELECT count(*) FROM <kind>_jobs WHERE tenant_id = $1 AND status IN ('pending', 'queued')

-- name: lock_queue
-- Lets one transaction at a time claim a job, so that turns are counted correctly.
SELECT pg_advisory_xact_lock(hashtextextended('earmark <kind> queue', 0))

-- name: begin_attempt
-- Adds the attempt that was just claimed, with its trainer.
INSERT INTO <kind>_attempts (tenant_id, <kind>_job_id, number, trainer)
SELECT tenant_id, id, $2, $3 FROM <kind>_jobs WHERE id = $1

-- name: end_attempt
-- Records the outcome of the attempt that just ended.
UPDATE <kind>_attempts SET ended_at = now(), outcome = $3, reason = $4
WHERE <kind>_job_id = $1 AND number = $2 AND outcome IS NULL

-- name: renew
-- Extends the current attempt's lease; no row for any other attempt.
UPDATE <kind>_jobs SET lease_until = now() + make_interval(secs => $3)
WHERE id = $1 AND attempt = $2 AND status = '<running>'
RETURNING cancel_requested

-- name: lock_attempt
-- Locks the job until the transaction ends; no row if the attempt is no longer the current one.
SELECT * FROM <kind>_jobs WHERE id = $1 AND attempt = $2 AND status = '<running>' FOR UPDATE

-- name: requeue
-- Ends the current attempt; the next may start in $3 seconds. No row for any other attempt.
UPDATE <kind>_jobs
SET status = 'queued', queued_at = now(), not_before = now() + make_interval(secs => $3), lease_until = NULL,
    eta = NULL, losses = $4, revision = revision + 1
WHERE id = $1 AND attempt = $2 AND status = '<running>'
RETURNING *

-- name: a_trainer_is_well
-- Whether a trainer of the job's last $2 attempts has completed another job that it began after the first of them. One
-- that it began before says nothing: its end may be recorded later than the start of the next job.
WITH lost AS (
    SELECT trainer, started_at FROM <kind>_attempts WHERE <kind>_job_id = $1 ORDER BY number DESC LIMIT $2
)
SELECT EXISTS (
    SELECT FROM <kind>_attempts
    WHERE <kind>_job_id <> $1 AND outcome = 'completed'
        AND trainer IN (SELECT trainer FROM lost) AND started_at > (SELECT min(started_at) FROM lost)
)

-- name: expired
-- Jobs of one tenant whose lease has expired because their gateway stopped renewing it.
SELECT * FROM <kind>_jobs
WHERE status = '<running>' AND is_over(lease_until)
    AND tenant_id = (SELECT tenant_id FROM <kind>_jobs WHERE status = '<running>' AND is_over(lease_until)
                     ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
ORDER BY id LIMIT 100 FOR UPDATE SKIP LOCKED

-- name: request_cancel
-- Asks the current attempt to stop; no row if the job is not on a trainer.
UPDATE <kind>_jobs SET cancel_requested = true
WHERE tenant_id = $1 AND id = $2 AND status = '<running>'
RETURNING *

-- name: lock_for_update
-- One job, locked until the transaction ends.
SELECT * FROM <kind>_jobs WHERE tenant_id = $1 AND id = $2 FOR UPDATE

-- name: counts
-- The numbers of all tenants' waiting and running jobs.
SELECT count(*) FILTER (WHERE status IN ('pending', 'queued')) AS waiting,
    count(*) FILTER (WHERE status = '<running>') AS running
FROM <kind>_jobs
WHERE status IN ('pending', 'queued', '<running>')
