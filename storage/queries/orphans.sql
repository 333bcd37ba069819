-- name: add_upload
-- Records that the objects of this audio file or recording may exist without a row.
INSERT INTO orphan_candidates (kind, tenant_id, id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING

-- name: add_deleted
-- Records that the objects of these deleted audio files, recordings or jobs exist without a row.
INSERT INTO orphan_candidates (kind, tenant_id, id, is_deletion)
SELECT $1, $2, id, true FROM unnest($3::uuid[]) AS deleted (id)
ON CONFLICT (kind, id) DO UPDATE SET since = now(), is_deletion = true

-- name: add_retried
-- Records that attempts at these audio files may have left unfinished writes.
INSERT INTO orphan_candidates (kind, tenant_id, id)
SELECT 'audio_file', tenant_id, id FROM audio_files WHERE id = ANY ($1::uuid[])
ON CONFLICT (kind, id) DO UPDATE SET since = now()

-- name: due_candidates
-- Candidates older than $1 seconds and new deletions, and whether there is a row now, but for those of $2.
SELECT kind, tenant_id, id, is_deletion,
    CASE kind WHEN 'audio_file' THEN EXISTS (SELECT FROM audio_files a WHERE a.id = c.id)
              WHEN 'recording' THEN EXISTS (SELECT FROM recordings r WHERE r.id = c.id)
              ELSE EXISTS (SELECT FROM training_jobs j WHERE j.id = c.id) END AS has_row
FROM orphan_candidates c
WHERE (since < now() - make_interval(secs => $1) OR is_deletion) AND id <> ALL ($2::uuid[])
ORDER BY since LIMIT 100

-- name: remove_candidates
-- Removes candidates older than $1 seconds that a sweep has checked.
DELETE FROM orphan_candidates
WHERE since < now() - make_interval(secs => $1) AND id = ANY ($2::uuid[])

-- name: keep_candidates
-- Records that a sweep has checked these deletions; it checks them once more when they are old.
UPDATE orphan_candidates SET is_deletion = false WHERE id = ANY ($1::uuid[])

-- name: unswept_jobs
-- Unswept jobs that finished more than $1 seconds ago, with the object keys of their models, but for those of $2.
SELECT j.tenant_id, j.id, j.sweeps_needed, array_remove(ARRAY[m.weights, m.model_config], NULL) AS model_keys
FROM training_jobs j LEFT JOIN models m ON m.training_job_id = j.id
WHERE j.finished_at < now() - make_interval(secs => $1) AND j.sweeps_done < j.sweeps_needed AND j.id <> ALL ($2::uuid[])
ORDER BY j.finished_at LIMIT 100

-- name: mark_swept
-- Records that a sweep has removed the orphans that these jobs had when so many sweeps were needed. It locks the jobs in
-- the order in which deletions do.
WITH swept AS MATERIALIZED (
    SELECT j.id, s.needed FROM training_jobs j JOIN unnest($1::uuid[], $2::integer[]) AS s (id, needed) USING (id)
    ORDER BY j.id FOR NO KEY UPDATE OF j
)
UPDATE training_jobs j SET sweeps_done = greatest(j.sweeps_done, swept.needed)
FROM swept
WHERE j.id = swept.id
