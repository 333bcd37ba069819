-- Detection jobs: one model's search through many files. The queue, the leases and the attempts are as those of training
-- jobs; storage/queries/jobs.sql has the statements that both kinds share.

CREATE TABLE detection_jobs (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    -- Not a reference: a finished job outlives its model. An unfinished one prevents the model's deletion.
    model_id uuid NOT NULL,
    -- NULL if the files are recordings or objects by reference. Not a reference: a finished job outlives its dataset.
    dataset_id uuid,
    config jsonb NOT NULL,
    -- [{"name": type, "merge_window_ms": n, "min_duration_ms": n}]: what the model has learned of its types, in their order.
    types jsonb NOT NULL,
    metadata jsonb NOT NULL,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'queued', 'processing', 'completed', 'failed', 'cancelled')),
    total_files integer NOT NULL,
    completed_files integer NOT NULL DEFAULT 0,
    failed_files integer NOT NULL DEFAULT 0,
    total_detections bigint NOT NULL DEFAULT 0,
    audio_ms bigint NOT NULL DEFAULT 0,
    eta timestamptz,
    error_reason text,
    error_message text,
    cancel_requested boolean NOT NULL DEFAULT false,
    -- Fencing token: a write with an older attempt number changes nothing.
    attempt integer NOT NULL DEFAULT 0,
    -- End of the current attempt's lease: after it, any gateway may queue the job again.
    lease_until timestamptz,
    -- Attempts in a row that ended with a lost trainer, since the last result.
    losses integer NOT NULL DEFAULT 0,
    -- The earliest start of the next attempt of a queued job whose trainer was lost.
    not_before timestamptz,
    -- The revision of the last event. It is assigned under this row's lock, so events commit in its order.
    revision bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    CHECK ((status = 'processing') = (lease_until IS NOT NULL)),
    CHECK ((status = 'failed') = (error_reason IS NOT NULL)),
    CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX detection_jobs_by_tenant ON detection_jobs (tenant_id, id);
CREATE INDEX detection_jobs_unfinished ON detection_jobs (tenant_id, id)
    WHERE status IN ('pending', 'queued', 'processing');

CREATE TABLE detection_attempts (
    tenant_id text NOT NULL,
    detection_job_id uuid NOT NULL REFERENCES detection_jobs ON DELETE CASCADE,
    number integer NOT NULL,
    -- The trainer's address, for those who run Earmark; no tenant sees it.
    trainer text NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    outcome text CHECK (outcome IN ('completed', 'failed', 'cancelled', 'lost', 'handed_back')),
    reason text,
    PRIMARY KEY (detection_job_id, number),
    CHECK ((outcome IS NULL) = (ended_at IS NULL))
);
CREATE INDEX detection_attempts_completed ON detection_attempts (trainer, started_at) WHERE outcome = 'completed';

-- The queued jobs in their order, as in training_queue.
CREATE VIEW detection_queue AS
SELECT w.id, w.tenant_id, w.is_due, w.place + coalesce(r.running, 0) AS turn
FROM (
    SELECT id, tenant_id, is_due, row_number() OVER (PARTITION BY tenant_id ORDER BY is_due DESC, id) AS place
    FROM (
        SELECT id, tenant_id, coalesce(is_over(not_before), true) AS is_due
        FROM detection_jobs WHERE status = 'queued'
    ) q
) w
LEFT JOIN (
    SELECT tenant_id, count(*) AS running FROM detection_jobs WHERE status = 'processing' GROUP BY tenant_id
) r USING (tenant_id);

-- Recordings that were uploaded for detection jobs. One without a job is removed after a day.
CREATE TABLE recordings (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    filename text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    detection_job_id uuid REFERENCES detection_jobs,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX recordings_by_job ON recordings (detection_job_id);
CREATE INDEX recordings_unused ON recordings (created_at) WHERE detection_job_id IS NULL;

CREATE TABLE detection_files (
    tenant_id text NOT NULL,
    detection_job_id uuid NOT NULL REFERENCES detection_jobs ON DELETE CASCADE,
    -- The file's place in the job, from 1.
    position integer NOT NULL,
    -- The id of the recording, or of the dataset's audio file; of an object by reference, its own.
    file_id uuid NOT NULL,
    -- The audio file, if it is one: what was found in it is deleted with it.
    audio_file_id uuid REFERENCES audio_files ON DELETE CASCADE,
    filename text NOT NULL,
    -- Whether it is searched where it is: its filename is the URI then.
    by_reference boolean NOT NULL DEFAULT false,
    status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'processing', 'completed', 'failed')),
    -- Attempts that were lost while they worked on the file.
    losses integer NOT NULL DEFAULT 0,
    duration_ms bigint NOT NULL DEFAULT 0,
    -- With the job's own settings.
    detection_count integer NOT NULL DEFAULT 0,
    -- See earmark.scores: the detections with any settings follow from them.
    scores bytea,
    error_reason text,
    error_message text,
    PRIMARY KEY (detection_job_id, position),
    UNIQUE (detection_job_id, file_id),
    CHECK ((status = 'completed') = (scores IS NOT NULL)),
    CHECK ((status = 'failed') = (error_reason IS NOT NULL))
) WITH (fillfactor = 70);
-- They are compressed already.
ALTER TABLE detection_files ALTER COLUMN scores SET STORAGE EXTERNAL;
CREATE INDEX detection_files_by_audio ON detection_files (audio_file_id) WHERE audio_file_id IS NOT NULL;

-- A job's files as users see them: what waits shares the state of its job.
CREATE VIEW detection_file_details AS
SELECT f.detection_job_id, f.position, f.file_id, f.filename, f.duration_ms, f.detection_count,
    CASE
        WHEN f.status IN ('completed', 'failed') THEN f.status
        WHEN j.status IN ('failed', 'cancelled') THEN j.status
        WHEN f.status = 'processing' AND j.status = 'processing' THEN 'processing'
        WHEN j.status = 'pending' THEN 'pending'
        ELSE 'queued'
    END AS status,
    CASE WHEN f.status = 'failed' THEN f.error_reason WHEN j.status = 'failed' THEN j.error_reason END AS error_reason,
    CASE WHEN f.status = 'failed' THEN f.error_message
         WHEN j.status = 'failed' THEN 'its job failed before its turn: ' || j.error_message END AS error_message
FROM detection_files f JOIN detection_jobs j ON j.id = f.detection_job_id;

ALTER TABLE orphan_candidates DROP CONSTRAINT orphan_candidates_kind_check;
ALTER TABLE orphan_candidates ADD CHECK (kind IN ('audio_file', 'training_job', 'recording'));

ALTER TABLE events DROP CONSTRAINT events_resource_check;
ALTER TABLE events ADD CHECK (resource IN ('training_job', 'audio_file', 'dataset', 'detection_job'));
-- A job whose files were uploaded for it belongs to none.
ALTER TABLE events ALTER COLUMN dataset_id DROP NOT NULL;

-- Records the deletion of jobs, whichever statement deletes them.
CREATE FUNCTION record_deleted_detection_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM remove_event_texts(ARRAY(SELECT id FROM deleted));
    INSERT INTO events (tenant_id, resource, resource_id, dataset_id, kind, attempt, revision, metadata, body)
    SELECT tenant_id, 'detection_job', id, dataset_id, 'deleted', attempt, revision + 1, metadata, '{"deleted": {}}'
    FROM deleted ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER record_deleted_detection_jobs AFTER DELETE ON detection_jobs
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION record_deleted_detection_jobs();
