-- Tenants and their API keys, and the policies that keep the tenants' rows apart whatever a query says.

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
