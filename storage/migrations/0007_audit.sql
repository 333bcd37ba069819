-- Who has changed what. Rows are added, read, and removed when they are old; nothing changes them.

CREATE TABLE audit_entries (
    id uuid PRIMARY KEY,
    request_id uuid NOT NULL,
    called_at timestamptz NOT NULL,
    -- Not tenant_id: an entry belongs to the installation, and no tenant sees it. Empty if nobody knows who called.
    tenant text NOT NULL,
    api_key_id uuid,
    caller text NOT NULL,
    address text NOT NULL,
    rpc text NOT NULL,
    -- An array of pairs, the name of a field and an id: what the call was about.
    ids jsonb NOT NULL,
    code text NOT NULL,
    reason text NOT NULL,
    -- How many refused calls of the address before this one have no entry.
    left_out integer NOT NULL
);
CREATE INDEX audit_entries_by_time ON audit_entries (called_at, id);
CREATE INDEX audit_entries_by_tenant ON audit_entries (tenant, called_at, id);
CREATE INDEX audit_entries_by_key ON audit_entries (api_key_id, called_at, id) WHERE api_key_id IS NOT NULL;

-- Only the gateway's own work sees entries, and there is no policy for UPDATE. What is younger than a day stays even if a
-- gateway is told to remove it.
ALTER TABLE audit_entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit_entries FORCE ROW LEVEL SECURITY;
CREATE POLICY entries_are_read ON audit_entries FOR SELECT
    USING ((SELECT current_setting('earmark.tenant', true)) = '*');
CREATE POLICY entries_are_added ON audit_entries FOR INSERT
    WITH CHECK ((SELECT current_setting('earmark.tenant', true)) = '*');
CREATE POLICY old_entries_are_removed ON audit_entries FOR DELETE
    USING ((SELECT current_setting('earmark.tenant', true)) = '*' AND called_at < now() - interval '1 day');
-- From the owner itself.
REVOKE UPDATE, TRUNCATE ON audit_entries FROM CURRENT_USER;
