-- The first tables. States are text with a CHECK. Ids are UUIDv7 and made by the gateway. Tables with rows of
-- several tenants have a tenant_id, also where it follows from another row: 0006_tenants.sql has the policies.

-- The id of the object store that has the rows' objects: one row.
CREATE TABLE object_store (
    id text NOT NULL,
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only)
);

-- Whether a lease or a pause is over. None is as long as ten minutes: if one seems to be, the clock has gone back.
CREATE FUNCTION is_over(until timestamptz) RETURNS boolean LANGUAGE sql STABLE
RETURN until <= now() OR until > now() + interval '10 minutes';

CREATE TABLE datasets (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL,
    -- Increases with every edit; serves as the etag.
    version bigint NOT NULL DEFAULT 1,
    -- Increases with every change of one of the dataset's audio files: a job trains on the files as of one revision.
    audio_revision bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX datasets_by_tenant ON datasets (tenant_id, id);

CREATE TABLE artifact_types (
    tenant_id text NOT NULL,
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
    -- Files with the same group lie on the same side of a job's split; empty for none.
    "group" text NOT NULL DEFAULT '',
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    duration_ms bigint NOT NULL DEFAULT 0,
    sample_rate_hz integer NOT NULL DEFAULT 0,
    channels integer NOT NULL DEFAULT 0,
    processing_status text NOT NULL DEFAULT 'pending'
        CHECK (processing_status IN ('pending', 'normalizing', 'embedding', 'ready', 'failed')),
    error_message text NOT NULL DEFAULT '',
    -- The dataset's audio_revision as of this file's last change.
    revision bigint NOT NULL,
    -- Fencing token: a write with an older attempt number changes nothing.
    attempt integer NOT NULL DEFAULT 0,
    -- End of the current attempt's lease: until then nobody else may claim the file.
    lease_until timestamptz,
    -- Attempts that were lost with their trainer, and the time of the first.
    losses integer NOT NULL DEFAULT 0,
    first_loss_at timestamptz,
    -- The version of the front end that computed the features; empty until they are stored.
    frontend text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX audio_files_by_frontend ON audio_files (frontend) WHERE processing_status = 'ready';
CREATE INDEX audio_files_features ON audio_files (dataset_id, frontend) INCLUDE (revision)
    WHERE processing_status = 'ready';
CREATE INDEX audio_files_ready ON audio_files (updated_at) WHERE processing_status = 'ready';
CREATE INDEX audio_files_by_dataset ON audio_files (dataset_id, id);
CREATE INDEX audio_files_by_status ON audio_files (dataset_id, processing_status) INCLUDE (duration_ms);
CREATE INDEX audio_files_in_progress ON audio_files (tenant_id, id)
    WHERE processing_status IN ('pending', 'normalizing', 'embedding');

CREATE TABLE annotation_sets (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    dataset_id uuid NOT NULL REFERENCES datasets,
    version integer NOT NULL,
    status text NOT NULL DEFAULT 'draft' CHECK (status IN ('draft', 'published')),
    -- {"type": {"count": n, "duration_ms": n}}: counted on each read of a draft, stored on publication.
    totals jsonb,
    -- Increases with every edit of the draft and with its publication; serves as the etag.
    revision bigint NOT NULL DEFAULT 1,
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
    -- NULL: in at least one of the file's channels.
    channel integer CHECK (channel BETWEEN 0 AND 7),
    -- Increases with every edit; serves as the etag.
    version bigint NOT NULL DEFAULT 1,
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
    -- The dataset's audio_revision when the job was created: it trains on the files as of this revision.
    audio_revision bigint NOT NULL DEFAULT 0,
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
    -- Fencing token: a write with an older attempt number changes nothing.
    attempt integer NOT NULL DEFAULT 0,
    -- End of the current attempt's lease: after it, any gateway may queue the job again.
    lease_until timestamptz,
    -- Attempts in a row that ended with a lost trainer, since the last checkpoint.
    losses integer NOT NULL DEFAULT 0,
    -- The object key of the checkpoint from which the next attempt resumes.
    checkpoint text,
    -- The revision of the last event. It is assigned under this row's lock, so events commit in its order.
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

CREATE TABLE models (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL,
    training_job_id uuid NOT NULL REFERENCES training_jobs,
    dataset_id uuid NOT NULL REFERENCES datasets,
    name text NOT NULL,
    -- The name without its case, by which it is found: what lower() does depends on the server's locale.
    name_key text COLLATE "C" NOT NULL,
    description text NOT NULL DEFAULT '',
    artifact_types text[] NOT NULL,
    eval_metrics jsonb NOT NULL,
    recommended_thresholds jsonb NOT NULL,
    merge_windows_ms jsonb NOT NULL,
    min_durations_ms jsonb NOT NULL,
    is_active boolean NOT NULL DEFAULT false,
    -- Object keys of the weights and of their JSON configuration.
    weights text NOT NULL,
    model_config text NOT NULL,
    size_bytes bigint NOT NULL,
    sha256 text NOT NULL,
    config jsonb NOT NULL,
    -- The epoch that the weights come from.
    best_epoch integer NOT NULL,
    -- What the model was made of, beside config: kept here, because sets and files can be deleted, and programs change.
    annotation_set_id uuid NOT NULL,
    annotation_set_version integer NOT NULL,
    audio_file_count integer NOT NULL,
    audio_duration_ms bigint NOT NULL,
    earmark_version text NOT NULL,
    frontend_version text NOT NULL,
    -- Increases with every edit; serves as the etag.
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT models_one_per_job UNIQUE (training_job_id)
);
CREATE INDEX models_by_tenant ON models (tenant_id, id);
CREATE INDEX models_by_name ON models (tenant_id, name_key);
CREATE INDEX models_by_base ON models ((config ->> 'base_model_id')) WHERE config ->> 'base_model_id' IS NOT NULL;

-- In how many recordings each model has detected, and when last. Each gateway adds to it once a minute.
CREATE TABLE model_detections (
    tenant_id text NOT NULL,
    model_id uuid PRIMARY KEY REFERENCES models ON DELETE CASCADE,
    count bigint NOT NULL,
    last_at timestamptz NOT NULL
);

-- The aliases of models. One that was removed stays as a row without a model, so that its version never repeats.
CREATE TABLE model_aliases (
    tenant_id text NOT NULL,
    alias text COLLATE "C" NOT NULL,
    -- Active and not archived; NULL after the removal.
    model_id uuid REFERENCES models,
    -- The number of its moves; serves as the etag.
    version integer NOT NULL DEFAULT 1,
    moved_at timestamptz NOT NULL DEFAULT now(),
    -- The caller who moved it last.
    moved_by text NOT NULL,
    PRIMARY KEY (tenant_id, alias)
);
CREATE INDEX model_aliases_by_model ON model_aliases (model_id) WHERE model_id IS NOT NULL;

-- Every move of every alias. The models may have been deleted since; NULL stands for none.
CREATE TABLE model_alias_moves (
    tenant_id text NOT NULL,
    alias text COLLATE "C" NOT NULL,
    -- The alias's version from then on.
    version integer NOT NULL,
    from_model_id uuid,
    to_model_id uuid,
    moved_at timestamptz NOT NULL,
    moved_by text NOT NULL,
    PRIMARY KEY (tenant_id, alias, version),
    CHECK (from_model_id IS DISTINCT FROM to_model_id)
);

-- Records the moves of aliases, whichever statement makes them.
CREATE FUNCTION record_alias_move() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO model_alias_moves (tenant_id, alias, version, from_model_id, to_model_id, moved_at, moved_by)
    VALUES (NEW.tenant_id, NEW.alias, NEW.version, OLD.model_id, NEW.model_id, NEW.moved_at, NEW.moved_by);
    RETURN NULL;
END $$;
CREATE TRIGGER record_alias_move AFTER INSERT OR UPDATE ON model_aliases
FOR EACH ROW EXECUTE FUNCTION record_alias_move();

-- Replies to mutations by request_id, the caller's idempotency key: a retry gets the stored reply. Kept for 24 hours.
CREATE TABLE requests (
    tenant_id text NOT NULL,
    request_id uuid NOT NULL,
    body_sha256 bytea NOT NULL,
    reply bytea NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, request_id)
);
CREATE INDEX requests_by_age ON requests (created_at);

-- Datasets with their types in order and their counts.
CREATE VIEW dataset_details AS
SELECT d.*,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'description', t.description, 'color', t.color)
                               ORDER BY t.position), '[]')
     FROM artifact_types t WHERE t.dataset_id = d.id) AS artifact_types,
    (SELECT count(*) FROM audio_files a WHERE a.dataset_id = d.id) AS audio_count,
    (SELECT count(*) FROM annotation_sets s WHERE s.dataset_id = d.id) AS annotation_set_count
FROM datasets d;

-- Models with their aliases.
CREATE VIEW model_details AS
SELECT m.*,
    (SELECT coalesce(array_agg(a.alias ORDER BY a.alias), '{}') FROM model_aliases a WHERE a.model_id = m.id) AS aliases
FROM models m;

-- Annotation sets with their totals, which are counted if they are not stored.
CREATE VIEW annotation_set_details AS
SELECT s.id, s.tenant_id, s.dataset_id, s.version, s.status,
    coalesce(
        s.totals,
        (SELECT jsonb_object_agg(t.artifact_type, jsonb_build_object('count', t.count, 'duration_ms', t.duration_ms))
         FROM (SELECT artifact_type, count(*) AS count, sum(end_ms - start_ms) AS duration_ms
               FROM annotations WHERE annotation_set_id = s.id GROUP BY artifact_type) t),
        '{}'
    ) AS totals,
    s.revision, s.created_at, s.published_at
FROM annotation_sets s;
