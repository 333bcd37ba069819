-- name: all
-- The quotas of all tenants that have one of their own.
SELECT * FROM tenant_quotas

-- name: lock_tenant
-- Until the transaction ends, nobody else changes the tenant's quota. No row if there is no such tenant.
SELECT true FROM tenants WHERE id = $1 FOR NO KEY UPDATE

-- name: get
-- A tenant's own quota.
SELECT * FROM tenant_quotas WHERE tenant_id = $1

-- name: set
-- Stores a tenant's own quota.
INSERT INTO tenant_quotas (tenant_id, storage_bytes, audio_seconds, files, waiting_training_jobs,
    running_training_jobs, waiting_detection_jobs, running_detection_jobs, detection_seconds_per_day, streams,
    requests_per_second)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (tenant_id) DO UPDATE SET storage_bytes = $2, audio_seconds = $3, files = $4, waiting_training_jobs = $5,
    running_training_jobs = $6, waiting_detection_jobs = $7, running_detection_jobs = $8,
    detection_seconds_per_day = $9, streams = $10, requests_per_second = $11

-- name: lock_usage
-- Lets one transaction of a tenant at a time compare what is stored with the quota, and make few rows of many.
SELECT pg_advisory_xact_lock(hashtextextended('earmark usage ' || $1, 0))

-- name: stored
-- What a tenant stores, and in how many rows that is counted.
SELECT coalesce(sum(bytes), 0)::bigint AS bytes, coalesce(sum(audio_ms), 0)::bigint AS audio_ms,
    coalesce(sum(files), 0)::bigint AS files, count(*) AS counted_in
FROM stored_usage WHERE tenant_id = $1

-- name: compact_stored
-- Makes one row of a tenant's. Rows that others are adding stay beside it.
WITH gone AS (DELETE FROM stored_usage WHERE tenant_id = $1 RETURNING bytes, audio_ms, files)
INSERT INTO stored_usage (tenant_id, bytes, audio_ms, files)
SELECT $1, sum(bytes), sum(audio_ms), sum(files) FROM gone HAVING count(*) > 0

-- name: compact_searched
-- Makes one row of a tenant's detections of each day. Those of days before yesterday are not needed any more.
WITH gone AS (DELETE FROM detection_usage WHERE tenant_id = $1 RETURNING day, audio_ms)
INSERT INTO detection_usage (tenant_id, day, audio_ms)
SELECT $1, day, sum(audio_ms) FROM gone WHERE day >= (now() AT TIME ZONE 'UTC')::date - 1 GROUP BY day

-- name: counted_often
-- Tenants with more than $1 rows to make fewer of.
SELECT tenant_id FROM (SELECT tenant_id FROM stored_usage UNION ALL SELECT tenant_id FROM detection_usage) u
GROUP BY tenant_id HAVING count(*) > $1

-- name: searched_today
-- How much audio each tenant has searched since midnight (UTC).
SELECT tenant_id, sum(audio_ms)::bigint AS audio_ms FROM detection_usage
WHERE day = (now() AT TIME ZONE 'UTC')::date
GROUP BY tenant_id

-- name: add_searched
-- Adds to the audio that tenants have searched today.
INSERT INTO detection_usage (tenant_id, audio_ms) SELECT * FROM unnest($1::text[], $2::bigint[])

-- name: jobs
-- The numbers of a tenant's unfinished jobs.
SELECT count(*) FILTER (WHERE kind = 'training' AND status <> 'training') AS waiting_training_jobs,
    count(*) FILTER (WHERE kind = 'training' AND status = 'training') AS running_training_jobs,
    count(*) FILTER (WHERE kind = 'detection' AND status <> 'processing') AS waiting_detection_jobs,
    count(*) FILTER (WHERE kind = 'detection' AND status = 'processing') AS running_detection_jobs
FROM (
    SELECT 'training' AS kind, status FROM training_jobs
    WHERE tenant_id = $1 AND status IN ('pending', 'queued', 'training')
    UNION ALL
    SELECT 'detection', status FROM detection_jobs
    WHERE tenant_id = $1 AND status IN ('pending', 'queued', 'processing')
) j
