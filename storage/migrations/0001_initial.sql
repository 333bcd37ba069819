-- Everything that Earmark keeps. States are text with a CHECK; ids are UUIDv7 made by the gateway; every
-- table that holds a tenant's rows has tenant_id.

CREATE TABLE datasets (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    -- Grows with every edit: the etag.
    version bigint NOT NULL DEFAULT 1,
    -- Grows with every change of one of its audio files: the cursor of a watch.
    audio_revision bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX datasets_by_tenant ON datasets (tenant_id, id);

CREATE TABLE artifact_types (
    dataset_id uuid NOT NULL REFERENCES datasets ON DELETE CASCADE,
    name text NOT NULL,
    description text NOT NULL,
    color text NOT NULL,
    position integer NOT NULL,
    CONSTRAINT artifact_types_name_unique PRIMARY KEY (dataset_id, name)
);

CREATE TABLE audio_files (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    dataset_id uuid NOT NULL REFERENCES datasets,
    original_filename text NOT NULL,
    content_type text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    duration_ms bigint NOT NULL DEFAULT 0,
    sample_rate_hz integer NOT NULL DEFAULT 0,
    channels integer NOT NULL DEFAULT 0,
    processing_status text NOT NULL DEFAULT 'pending'
        CHECK (processing_status IN ('pending', 'normalizing', 'embedding', 'ready', 'failed')),
    error_message text NOT NULL DEFAULT '',
    revision bigint NOT NULL,
    -- Fencing token: only the holder of the current attempt may write.
    attempt integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audio_files_by_dataset ON audio_files (dataset_id, id);
CREATE INDEX audio_files_by_revision ON audio_files (dataset_id, revision);
CREATE INDEX audio_files_by_status ON audio_files (dataset_id, processing_status) INCLUDE (duration_ms);
CREATE INDEX audio_files_in_progress ON audio_files (id)
    WHERE processing_status IN ('pending', 'normalizing', 'embedding');

CREATE TABLE annotation_sets (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    dataset_id uuid NOT NULL REFERENCES datasets,
    version integer NOT NULL,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published')),
    -- {"type": {"count": n, "duration_ms": n}}: counted when asked for in a draft, kept once published.
    totals jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz,
    CONSTRAINT annotation_sets_version_unique UNIQUE (dataset_id, version),
    CHECK ((status = 'published') = (published_at IS NOT NULL)),
    CHECK ((status = 'published') = (totals IS NOT NULL))
);

CREATE TABLE annotations (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    annotation_set_id uuid NOT NULL REFERENCES annotation_sets ON DELETE CASCADE,
    audio_file_id uuid NOT NULL REFERENCES audio_files,
    dataset_id uuid NOT NULL,
    artifact_type text NOT NULL,
    start_ms bigint NOT NULL CHECK (start_ms >= 0),
    end_ms bigint NOT NULL CHECK (end_ms > start_ms),
    confidence double precision NOT NULL CHECK (confidence BETWEEN 0 AND 1),
    extra_data jsonb,
    CONSTRAINT annotations_type_defined
        FOREIGN KEY (dataset_id, artifact_type) REFERENCES artifact_types (dataset_id, name)
);
CREATE INDEX annotations_by_set ON annotations (annotation_set_id, id);
CREATE INDEX annotations_by_file ON annotations (audio_file_id);
CREATE INDEX annotations_by_type ON annotations (dataset_id, artifact_type);

CREATE TABLE training_jobs (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    dataset_id uuid NOT NULL REFERENCES datasets,
    annotation_set_id uuid NOT NULL REFERENCES annotation_sets,
    config jsonb NOT NULL,
    metadata jsonb NOT NULL,
    status text NOT NULL DEFAULT 'pending'
        CHECK (status IN ('pending', 'queued', 'training', 'completed', 'failed', 'cancelled')),
    progress double precision NOT NULL DEFAULT 0,
    current_epoch integer NOT NULL DEFAULT 0,
    total_epochs integer NOT NULL,
    metrics jsonb,
    eta timestamptz,
    model_id uuid,
    error_reason text,
    error_message text,
    cancel_requested boolean NOT NULL DEFAULT false,
    -- Fencing token: only the holder of the current attempt may write, and only before its lease runs out.
    attempt integer NOT NULL DEFAULT 0,
    lease_until timestamptz,
    -- Attempts that ended with a lost trainer.
    losses integer NOT NULL DEFAULT 0,
    -- Where the next attempt goes on.
    checkpoint text,
    -- That of its last event; drawn under this row's lock, so that order of revision is order of commit.
    revision bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    CHECK ((status = 'training') = (lease_until IS NOT NULL)),
    CHECK ((status = 'completed') = (model_id IS NOT NULL)),
    CHECK ((status = 'failed') = (error_reason IS NOT NULL)),
    CHECK ((status IN ('completed', 'failed', 'cancelled')) = (finished_at IS NOT NULL))
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX training_jobs_by_tenant ON training_jobs (tenant_id, id);
CREATE INDEX training_jobs_by_dataset ON training_jobs (dataset_id, id);
CREATE INDEX training_jobs_unfinished ON training_jobs (id) WHERE status IN ('pending', 'queued', 'training');

CREATE TABLE training_events (
    training_job_id uuid NOT NULL REFERENCES training_jobs,
    revision bigint NOT NULL,
    attempt integer NOT NULL,
    time timestamptz NOT NULL DEFAULT now(),
    -- The JSON form of earmark.v1.TrainingEvent's oneof: {"status_changed": {...}}.
    body jsonb NOT NULL,
    PRIMARY KEY (training_job_id, revision)
);

CREATE TABLE models (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    training_job_id uuid NOT NULL REFERENCES training_jobs,
    dataset_id uuid NOT NULL REFERENCES datasets,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    artifact_types text[] NOT NULL,
    eval_metrics jsonb NOT NULL,
    recommended_thresholds jsonb NOT NULL,
    is_active boolean NOT NULL DEFAULT false,
    -- Keys of the weights and of their JSON configuration.
    weights text NOT NULL,
    model_config text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    config jsonb NOT NULL,
    -- Grows with every change: the etag.
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT models_one_per_job UNIQUE (training_job_id)
);
CREATE INDEX models_by_tenant ON models (tenant_id, id);

-- Replies to mutations by the caller's request_id, kept 24 hours.
CREATE TABLE requests (
    tenant_id text NOT NULL,
    request_id uuid NOT NULL,
    body_sha256 bytea NOT NULL,
    reply bytea NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX requests_by_age ON requests (created_at);

-- A dataset as it is read: with its types in order and its counts.
CREATE VIEW dataset_details AS
SELECT d.*,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'description', t.description, 'color', t.color)
                               ORDER BY t.position), '[]')
     FROM artifact_types t WHERE t.dataset_id = d.id) AS artifact_types,
    (SELECT count(*) FROM audio_files a WHERE a.dataset_id = d.id) AS audio_count,
    (SELECT count(*) FROM annotation_sets s WHERE s.dataset_id = d.id) AS annotation_set_count
FROM datasets d;

-- An annotation set as it is read: with its totals, counted where they are not kept.
CREATE VIEW annotation_set_details AS
SELECT s.id, s.tenant_id, s.dataset_id, s.version, s.status,
    coalesce(
        s.totals,
        (SELECT jsonb_object_agg(t.artifact_type, jsonb_build_object('count', t.count, 'duration_ms', t.duration_ms))
         FROM (SELECT artifact_type, count(*) AS count, sum(end_ms - start_ms) AS duration_ms
               FROM annotations WHERE annotation_set_id = s.id GROUP BY artifact_type) t),
        '{}'
    ) AS totals,
    s.created_at, s.published_at
FROM annotation_sets s;
