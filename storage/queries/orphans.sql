-- name: add_candidate
-- Records that this audio file's objects may exist without a row.
INSERT INTO orphan_candidates (audio_file_id) VALUES ($1) ON CONFLICT DO NOTHING

-- name: old_candidates
-- Candidates older than $1 seconds, and whether the audio file has a row now.
SELECT audio_file_id, EXISTS (SELECT FROM audio_files a WHERE a.id = audio_file_id) AS has_row
FROM orphan_candidates WHERE since < now() - make_interval(secs => $1)
ORDER BY since LIMIT 100

-- name: remove_candidates
-- Removes candidates that a sweep has checked.
DELETE FROM orphan_candidates WHERE audio_file_id = ANY ($1::uuid[])

-- name: unswept_jobs
-- Unswept jobs that finished more than $1 seconds ago, with the object keys of their models.
SELECT j.id, array_remove(ARRAY[m.weights, m.model_config], NULL) AS model_keys
FROM training_jobs j LEFT JOIN models m ON m.training_job_id = j.id
WHERE j.finished_at < now() - make_interval(secs => $1) AND NOT j.swept
ORDER BY j.finished_at LIMIT 100

-- name: mark_swept
-- Records that a sweep has removed these jobs' orphans.
UPDATE training_jobs SET swept = true WHERE id = ANY ($1::uuid[])
