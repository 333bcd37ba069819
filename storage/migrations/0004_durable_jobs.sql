-- Each job's attempts, and the order in which queued jobs start.

CREATE TABLE training_attempts (
    tenant_id text NOT NULL,
    training_job_id uuid NOT NULL REFERENCES training_jobs,
    number integer NOT NULL,
    -- The trainer's address, for those who run Earmark; no tenant sees it.
    trainer text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('completed', 'failed', 'cancelled', 'lost', 'handed_back')),
    reason text,
    PRIMARY KEY (training_job_id, number),
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
);
CREATE INDEX training_attempts_completed ON training_attempts (trainer, started_at) WHERE outcome = 'completed';
INSERT INTO training_attempts (tenant_id, training_job_id, number, trainer)
SELECT tenant_id, id, attempt, '' FROM training_jobs WHERE status = 'training';

-- The earliest start of the next attempt of a queued job whose trainer was lost.
ALTER TABLE training_jobs ADD COLUMN not_before timestamptz;

DROP INDEX training_jobs_unfinished;
CREATE INDEX training_jobs_unfinished ON training_jobs (tenant_id, id)
    WHERE status IN ('pending', 'queued', 'training');

-- Audio files and jobs whose objects may be orphans, that is, stored objects without a row. An upload adds itself here
-- before it stores an object, a deletion in the transaction that deletes the row. A sweep checks a deletion at once, and
-- each candidate some hours later: a trainer may still have been writing objects of what was deleted.
CREATE TABLE orphan_candidates (
    kind text NOT NULL CHECK (kind IN ('audio_file', 'training_job')),
    tenant_id text NOT NULL,
    id uuid NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    -- True for a deletion until a sweep has checked it.
    is_deletion boolean NOT NULL DEFAULT false,
    PRIMARY KEY (kind, id)
);
CREATE INDEX orphan_candidates_by_age ON orphan_candidates (since);

-- A sweep removes a finished job's orphans, which are all objects of its attempts except its model: once after its end,
-- and once more after the deletion of its model. Both numbers only grow: a sweep that began before the deletion does not
-- count as the one after it.
ALTER TABLE training_jobs ADD COLUMN sweeps_needed integer NOT NULL DEFAULT 1;
ALTER TABLE training_jobs ADD COLUMN sweeps_done integer NOT NULL DEFAULT 0;
CREATE INDEX training_jobs_unswept ON training_jobs (finished_at)
    WHERE finished_at IS NOT NULL AND sweeps_done < sweeps_needed;

-- The queued jobs in their order. `turn` is the number of jobs that the job's tenant has in training once it starts.
-- The lowest turn starts first, so a tenant with many jobs waits behind one that has none in training. Among equal
-- turns the oldest job starts first. `is_due` is false until not_before.
CREATE VIEW training_queue AS
SELECT w.id, w.tenant_id, w.is_due, w.place + coalesce(r.running, 0) AS turn
FROM (
    SELECT id, tenant_id, is_due, row_number() OVER (PARTITION BY tenant_id ORDER BY is_due DESC, id) AS place
    FROM (
        SELECT id, tenant_id, coalesce(is_over(not_before), true) AS is_due
        FROM training_jobs WHERE status = 'queued'
    ) q
) w
LEFT JOIN (
    SELECT tenant_id, count(*) AS running FROM training_jobs WHERE status = 'training' GROUP BY tenant_id
) r USING (tenant_id);

-- Jobs with their attempts.
CREATE VIEW training_job_details AS
SELECT j.*,
    (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'number', a.number, 'started_at', a.started_at, 'ended_at', a.ended_at,
                'outcome', a.outcome, 'reason', a.reason) ORDER BY a.number), '[]')
     FROM training_attempts a WHERE a.training_job_id = j.id) AS attempts
FROM training_jobs j;
