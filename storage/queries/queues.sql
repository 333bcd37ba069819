-- name: read
-- How much work of each kind waits and runs, of all tenants together, and how long the oldest has waited; no row for a
-- kind without any. Work that runs without a valid lease has lost its gateway.
WITH work AS (
    SELECT 'training' AS kind, status = 'training' AS runs, coalesce(queued_at, created_at) AS since, lease_until
    FROM training_jobs WHERE status IN ('pending', 'queued', 'training')
    UNION ALL
    SELECT 'detection', status = 'processing', coalesce(queued_at, created_at), lease_until
    FROM detection_jobs WHERE status IN ('pending', 'queued', 'processing')
    UNION ALL
    SELECT 'audio', coalesce(NOT is_over(lease_until), false), created_at, lease_until
    FROM audio_files WHERE processing_status IN ('pending', 'normalizing', 'embedding')
)
SELECT kind, count(*) FILTER (WHERE NOT runs) AS waiting, count(*) FILTER (WHERE runs) AS running,
    count(*) FILTER (WHERE NOT is_over(lease_until)) AS leases,
    coalesce(greatest(extract(epoch FROM now() - min(since) FILTER (WHERE NOT runs)), 0), 0)::float8
        AS oldest_seconds
FROM work GROUP BY kind

-- name: waiting
-- Whether any job of each kind waits, of any tenant.
SELECT EXISTS (SELECT FROM training_jobs WHERE status = 'pending') AS training_pending,
    EXISTS (SELECT FROM training_jobs WHERE status = 'queued') AS training_queued,
    EXISTS (SELECT FROM detection_jobs WHERE status = 'pending') AS detection_pending,
    EXISTS (SELECT FROM detection_jobs WHERE status = 'queued') AS detection_queued
