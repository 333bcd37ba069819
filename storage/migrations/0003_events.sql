-- The log of each tenant: what happened to its training jobs, audio files and datasets, without gaps and in the order of
-- the commits.

CREATE TABLE tenant_logs (
    tenant_id text PRIMARY KEY,
    -- The sequence number of the last event.
    last_sequence bigint NOT NULL,
    -- Of the events up to this number, only the last of each resource is kept.
    compacted_sequence bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 10);

CREATE TABLE events (
    -- Orders the events of a transaction.
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant_id text NOT NULL,
    -- The position in the tenant's log, assigned when the transaction commits.
    sequence bigint,
    time timestamptz NOT NULL DEFAULT now(),
    -- What the event is about. It may have been deleted since.
    resource text NOT NULL CHECK (resource IN ('training_job', 'audio_file', 'dataset')),
    resource_id uuid NOT NULL,
    dataset_id uuid NOT NULL,
    kind text NOT NULL,
    -- The resource's status after the event; NULL after its deletion.
    status text,
    -- Of a job: the attempt, the number of the event within the job, and the job's metadata.
    attempt integer NOT NULL DEFAULT 0,
    revision bigint,
    metadata jsonb NOT NULL DEFAULT '{}',
    -- {field: the JSON form of this field of the event's oneof}. Free text in it is removed when the resource is deleted.
    body jsonb NOT NULL,
    CHECK ((kind = 'deleted') = (status IS NULL))
);
CREATE UNIQUE INDEX events_by_sequence ON events (tenant_id, sequence) WHERE sequence IS NOT NULL;
CREATE UNIQUE INDEX events_by_resource ON events (resource_id, revision);

-- Numbers the events of a transaction. It is deferred, so it runs within COMMIT, when the transaction waits for nothing
-- more: the lock on the tenant's row, which orders the commits, is taken for no longer than the commit takes, whatever
-- the transaction did before, and even if its client is suspended. Each transaction takes one such lock only.
CREATE FUNCTION number_events() RETURNS trigger LANGUAGE plpgsql
-- A generic plan might read the whole table.
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    ids bigint[];
    tenants bigint;
    latest bigint;
BEGIN
    IF (SELECT sequence FROM events WHERE id = NEW.id) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    -- This is the transaction's first event. It numbers the others too; those of other transactions are not visible.
    SELECT array_agg(id ORDER BY id), count(DISTINCT tenant_id) INTO ids, tenants
    FROM events WHERE id >= NEW.id AND sequence IS NULL;
    IF tenants > 1 THEN
        RAISE EXCEPTION 'a transaction may record events of one tenant only, so that transactions cannot deadlock';
    END IF;
    INSERT INTO tenant_logs AS l (tenant_id, last_sequence) VALUES (NEW.tenant_id, cardinality(ids))
    ON CONFLICT (tenant_id) DO UPDATE SET last_sequence = l.last_sequence + excluded.last_sequence
    RETURNING last_sequence INTO latest;
    UPDATE events e SET sequence = latest - cardinality(ids) + n.place
    FROM unnest(ids) WITH ORDINALITY AS n (id, place)
    WHERE e.id = n.id;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER number_events AFTER INSERT ON events
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION number_events();

-- Removes the free text, such as the reason of a failure, from the events of deleted resources. The events stay: a
-- cursor identifies each of them.
CREATE FUNCTION remove_event_texts(deleted_ids uuid[]) RETURNS void LANGUAGE sql AS $$
    UPDATE events SET body = body #- '{status_changed,reason}' #- '{status_changed,error_message}' #- '{notice,message}'
    WHERE resource_id = ANY (deleted_ids)
        AND (body -> 'status_changed' ?| '{reason,error_message}' OR body -> 'notice' ? 'message')
$$;

-- Records the deletion of jobs, whichever statement deletes them.
CREATE FUNCTION record_deleted_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM remove_event_texts(ARRAY(SELECT id FROM deleted));
    INSERT INTO events (tenant_id, resource, resource_id, dataset_id, kind, attempt, revision, metadata, body)
    SELECT tenant_id, 'training_job', id, dataset_id, 'deleted', attempt, revision + 1, metadata, '{"deleted": {}}'
    FROM deleted ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER record_deleted_jobs AFTER DELETE ON training_jobs
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION record_deleted_jobs();

-- Records what happens to audio files, whichever statement does it.
CREATE FUNCTION record_created_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (tenant_id, resource, resource_id, dataset_id, kind, status, body)
    SELECT tenant_id, 'audio_file', id, dataset_id, 'created', processing_status, '{"created": {}}'
    FROM created ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER record_created_files AFTER INSERT ON audio_files
REFERENCING NEW TABLE AS created FOR EACH STATEMENT EXECUTE FUNCTION record_created_files();

CREATE FUNCTION record_changed_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (tenant_id, resource, resource_id, dataset_id, kind, status, body)
    SELECT n.tenant_id, 'audio_file', n.id, n.dataset_id, 'status_changed', n.processing_status,
        jsonb_build_object('status_changed', jsonb_strip_nulls(jsonb_build_object(
            'from', 'AUDIO_PROCESSING_STATUS_' || upper(o.processing_status),
            'to', 'AUDIO_PROCESSING_STATUS_' || upper(n.processing_status),
            'error_message', nullif(n.error_message, ''))))
    FROM before o JOIN after n USING (id)
    WHERE o.processing_status <> n.processing_status ORDER BY n.id;
    RETURN NULL;
END $$;
CREATE TRIGGER record_changed_files AFTER UPDATE ON audio_files
REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION record_changed_files();

CREATE FUNCTION record_deleted_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM remove_event_texts(ARRAY(SELECT id FROM deleted));
    INSERT INTO events (tenant_id, resource, resource_id, dataset_id, kind, body)
    SELECT tenant_id, 'audio_file', id, dataset_id, 'deleted', '{"deleted": {}}' FROM deleted ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER record_deleted_files AFTER DELETE ON audio_files
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION record_deleted_files();

-- Records the deletion of datasets. Its files were deleted before.
CREATE FUNCTION record_deleted_datasets() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO events (tenant_id, resource, resource_id, dataset_id, kind, body)
    SELECT tenant_id, 'dataset', id, id, 'deleted', '{"dataset_deleted": {}}' FROM deleted ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER record_deleted_datasets AFTER DELETE ON datasets
REFERENCING OLD TABLE AS deleted FOR EACH STATEMENT EXECUTE FUNCTION record_deleted_datasets();
