-- Tenants, their API keys and quotas, and the policies that keep the tenants' rows apart whatever a query says.

CREATE TABLE tenants (
    id text COLLATE "C" PRIMARY KEY CHECK (id ~ '^[a-z0-9]([a-z0-9-]*[a-z0-9])?$' AND length(id) <= 40
        -- The object store has these names beside the tenants'.
        AND id NOT IN ('probes', 'store-id')),
    display_name text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
-- The tenant of all calls as long as there is no key.
INSERT INTO tenants (id, display_name) VALUES ('default', 'Default');

-- Keys are never deleted: once there was one, no call is served without a key.
CREATE TABLE api_keys (
    id uuid PRIMARY KEY,
    tenant_id text NOT NULL REFERENCES tenants,
    name text NOT NULL,
    -- By which the row is found: the part of the key that is not secret.
    lookup text COLLATE "C" NOT NULL UNIQUE,
    -- SHA-256 of the whole key.
    sha256 bytea NOT NULL,
    scopes text[] NOT NULL CHECK (
        cardinality(scopes) > 0 AND scopes <@ ARRAY['read', 'write', 'train', 'detect', 'admin']),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant_id, id);

-- What those who run Earmark allow a tenant. NULL: what the gateways' settings say; 0: no limit.
CREATE TABLE tenant_quotas (
    tenant_id text PRIMARY KEY REFERENCES tenants,
    storage_bytes bigint CHECK (storage_bytes >= 0),
    audio_seconds bigint CHECK (audio_seconds >= 0),
    files bigint CHECK (files >= 0),
    waiting_training_jobs bigint CHECK (waiting_training_jobs >= 0),
    running_training_jobs bigint CHECK (running_training_jobs >= 0),
    waiting_detection_jobs bigint CHECK (waiting_detection_jobs >= 0),
    running_detection_jobs bigint CHECK (running_detection_jobs >= 0),
    detection_seconds_per_day bigint CHECK (detection_seconds_per_day >= 0),
    streams bigint CHECK (streams >= 0),
    requests_per_second bigint CHECK (requests_per_second >= 0)
);

-- What a tenant stores is the sum of its rows here: each change adds one, so that changes do not wait for one another as
-- they would for one row with the sum. A clean-up makes few rows of many.
CREATE TABLE stored_usage (
    tenant_id text NOT NULL,
    -- Uploaded audio, recordings for detection jobs, and models, as they were uploaded or trained.
    bytes bigint NOT NULL DEFAULT 0,
    -- Of audio files that were decoded.
    audio_ms bigint NOT NULL DEFAULT 0,
    -- Audio files and recordings.
    files bigint NOT NULL DEFAULT 0
);
CREATE INDEX stored_usage_by_tenant ON stored_usage (tenant_id) INCLUDE (bytes, audio_ms, files);

-- How much audio a tenant has searched on a day (UTC), in the same way.
CREATE TABLE detection_usage (
    tenant_id text NOT NULL,
    day date NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')::date,
    audio_ms bigint NOT NULL
);
CREATE INDEX detection_usage_by_day ON detection_usage (day, tenant_id) INCLUDE (audio_ms);

-- They count whatever statement changes the rows.
CREATE FUNCTION count_stored_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stored_usage (tenant_id, bytes, audio_ms, files)
    SELECT tenant_id, sum(size_bytes), sum(duration_ms), count(*) FROM changed GROUP BY tenant_id;
    RETURN NULL;
END $$;
CREATE FUNCTION count_deleted_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stored_usage (tenant_id, bytes, audio_ms, files)
    SELECT tenant_id, -sum(size_bytes), -sum(duration_ms), -count(*) FROM changed GROUP BY tenant_id;
    RETURN NULL;
END $$;
CREATE FUNCTION count_duration() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stored_usage (tenant_id, audio_ms) VALUES (NEW.tenant_id, NEW.duration_ms - OLD.duration_ms);
    RETURN NULL;
END $$;
CREATE TRIGGER count_stored_files AFTER INSERT ON audio_files
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_stored_files();
CREATE TRIGGER count_deleted_files AFTER DELETE ON audio_files
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_deleted_files();
CREATE TRIGGER count_duration AFTER UPDATE OF duration_ms ON audio_files
FOR EACH ROW WHEN (NEW.duration_ms <> OLD.duration_ms) EXECUTE FUNCTION count_duration();

CREATE FUNCTION count_stored_recordings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stored_usage (tenant_id, bytes, files)
    SELECT tenant_id, sum(size_bytes), count(*) FROM changed GROUP BY tenant_id;
    RETURN NULL;
END $$;
CREATE FUNCTION count_deleted_recordings() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stored_usage (tenant_id, bytes, files)
    SELECT tenant_id, -sum(size_bytes), -count(*) FROM changed GROUP BY tenant_id;
    RETURN NULL;
END $$;
CREATE TRIGGER count_stored_recordings AFTER INSERT ON recordings
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_stored_recordings();
CREATE TRIGGER count_deleted_recordings AFTER DELETE ON recordings
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_deleted_recordings();

CREATE FUNCTION count_stored_models() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stored_usage (tenant_id, bytes) SELECT tenant_id, sum(size_bytes) FROM changed GROUP BY tenant_id;
    RETURN NULL;
END $$;
CREATE FUNCTION count_deleted_models() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stored_usage (tenant_id, bytes) SELECT tenant_id, -sum(size_bytes) FROM changed GROUP BY tenant_id;
    RETURN NULL;
END $$;
CREATE TRIGGER count_stored_models AFTER INSERT ON models
REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_stored_models();
CREATE TRIGGER count_deleted_models AFTER DELETE ON models
REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION count_deleted_models();

CREATE FUNCTION count_searched_audio() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO detection_usage (tenant_id, audio_ms) VALUES (NEW.tenant_id, NEW.audio_ms - OLD.audio_ms);
    RETURN NULL;
END $$;
CREATE TRIGGER count_searched_audio AFTER UPDATE OF audio_ms ON detection_jobs
FOR EACH ROW WHEN (NEW.audio_ms > OLD.audio_ms) EXECUTE FUNCTION count_searched_audio();

-- When a file of each tenant was given to a trainer last: the one whose turn was longest ago is next.
CREATE TABLE audio_turns (
    tenant_id text PRIMARY KEY,
    claimed_at timestamptz NOT NULL
);

-- Row-level security. A connection names its tenant in the setting earmark.tenant; '*', which is no tenant's id, stands
-- for the gateway's own work for all of them. Without the setting no row is visible. The setting is read once per query.
-- FORCE: the policies hold for the tables' owner, too, which the gateway's role may be.
DO $$
DECLARE
    secured text;
BEGIN
    FOR secured IN
        SELECT table_name FROM information_schema.columns JOIN information_schema.tables USING (table_schema, table_name)
        WHERE table_schema = current_schema() AND column_name = 'tenant_id' AND table_type = 'BASE TABLE'
    LOOP
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', secured);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', secured);
        EXECUTE format(
            'CREATE POLICY rows_of_tenant ON %I USING (
                tenant_id = (SELECT current_setting(''earmark.tenant'', true))
                OR (SELECT current_setting(''earmark.tenant'', true)) = ''*'')', secured);
    END LOOP;
END $$;

ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
CREATE POLICY rows_of_tenant ON tenants USING (
    id = (SELECT current_setting('earmark.tenant', true)) OR (SELECT current_setting('earmark.tenant', true)) = '*');
