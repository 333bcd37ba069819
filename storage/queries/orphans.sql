-- name: add_candidate
-- The objects of this audio file may be there without a row.
INSERT INTO orphan_candidates (audio_file_id) VALUES ($1) ON CONFLICT DO NOTHING

-- name: old_candidates
-- Audio files that have been loose for $1 seconds, and whether they have a row by now.
SELECT audio_file_id, EXISTS (SELECT FROM audio_files a WHERE a.id = audio_file_id) AS has_row
FROM orphan_candidates WHERE since < now() - make_interval(secs => $1)
ORDER BY since LIMIT 100

-- name: remove_candidates
-- They are seen to.
DELETE FROM orphan_candidates WHERE audio_file_id = ANY ($1::uuid[])

-- name: unswept_jobs
-- Jobs that have been over for $1 seconds, with the keys that their models consist of.
SELECT j.id, array_remove(ARRAY[m.weights, m.model_config], NULL) AS kept
FROM training_jobs j LEFT JOIN models m ON m.training_job_id = j.id
WHERE j.finished_at < now() - make_interval(secs => $1) AND NOT j.swept
ORDER BY j.finished_at LIMIT 100

-- name: mark_swept
-- They are seen to.
UPDATE training_jobs SET swept = true WHERE id = ANY ($1::uuid[])
