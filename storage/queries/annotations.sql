-- name: lock_versions
-- One new set of a dataset at a time. Not by the dataset's row: a long copy would hold up every upload.
SELECT pg_advisory_xact_lock(hashtextextended('annotation_sets ' || $1::uuid, 0))

-- name: create_set
-- A draft with the dataset's next version; the versions are locked.
INSERT INTO annotation_sets (id, tenant_id, dataset_id, version)
SELECT $1::uuid, $2::text, $3::uuid, coalesce(max(version), 0) + 1 FROM annotation_sets WHERE dataset_id = $3

-- name: get_set
-- One set with its totals.
SELECT id, dataset_id, version, status, totals, created_at, published_at
FROM annotation_set_details
WHERE tenant_id = $1 AND id = $2

-- name: list_sets
-- A page of a dataset's sets, newest version first.
SELECT id, dataset_id, version, status, totals, created_at, published_at
FROM annotation_set_details
WHERE tenant_id = $1 AND dataset_id = $2 AND ($3::integer IS NULL OR version < $3)
ORDER BY version DESC
LIMIT $4

-- name: share_dataset_of_set
-- Keeps a set's dataset, as datasets.hold does.
SELECT id FROM datasets
WHERE id = (SELECT dataset_id FROM annotation_sets WHERE tenant_id = $1 AND id = $2)
FOR KEY SHARE

-- name: lock_set
-- Keeps a set as it is until the end of the transaction: edits of it, publishing it and deleting it wait.
SELECT id, dataset_id, version, status FROM annotation_sets WHERE tenant_id = $1 AND id = $2 FOR UPDATE

-- name: publish
-- From now on the set never changes; its totals are kept.
UPDATE annotation_sets SET
    status = 'published',
    published_at = now(),
    totals = (SELECT d.totals FROM annotation_set_details d WHERE d.id = annotation_sets.id)
WHERE id = $1

-- name: delete_set
-- A draft with its annotations.
DELETE FROM annotation_sets WHERE id = $1

-- name: ids_to_copy
-- Some of a set's annotations, in order.
SELECT id FROM annotations
WHERE annotation_set_id = $1 AND ($2::uuid IS NULL OR id > $2)
ORDER BY id
LIMIT $3

-- name: copy
-- Copies annotations $2 under the ids $3 into the set $1.
INSERT INTO annotations
    (id, tenant_id, annotation_set_id, audio_file_id, dataset_id, artifact_type, start_ms, end_ms, confidence,
     extra_data)
SELECT pair.new_id, tenant_id, $1, audio_file_id, dataset_id, artifact_type, start_ms, end_ms, confidence,
    extra_data
FROM unnest($2::uuid[], $3::uuid[]) AS pair (old_id, new_id)
JOIN annotations ON annotations.id = pair.old_id

-- name: types
-- What annotations of a dataset may mark.
SELECT name FROM artifact_types WHERE dataset_id = $1 ORDER BY position

-- name: files
-- Of the given files, those of the dataset.
SELECT id, processing_status, duration_ms, error_message FROM audio_files
WHERE dataset_id = $1 AND id = ANY ($2::uuid[])

-- name: unusable_files
-- Files that a set marks and that failed, or whose length is not known yet.
SELECT id, processing_status, duration_ms, error_message FROM audio_files
WHERE dataset_id = $1 AND (processing_status = 'failed' OR duration_ms = 0)
    AND EXISTS (SELECT FROM annotations WHERE annotation_set_id = $2 AND audio_file_id = audio_files.id)
ORDER BY id

-- name: beyond_end
-- Annotations that end after their file does.
SELECT a.id, a.audio_file_id, a.end_ms, f.duration_ms
FROM annotations a
JOIN audio_files f ON f.id = a.audio_file_id
WHERE a.annotation_set_id = $1 AND f.duration_ms > 0 AND a.end_ms > f.duration_ms
ORDER BY a.id

-- name: add
-- Annotations of one set, one of each array.
INSERT INTO annotations
    (tenant_id, annotation_set_id, dataset_id, id, audio_file_id, artifact_type, start_ms, end_ms, confidence,
     extra_data)
SELECT $1, $2, $3, * FROM unnest(
    $4::uuid[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[], $9::double precision[], $10::jsonb[])

-- name: get
-- One annotation.
SELECT id, annotation_set_id, audio_file_id, artifact_type, start_ms, end_ms, confidence, extra_data
FROM annotations
WHERE tenant_id = $1 AND id = $2

-- name: list
-- A page of a set's annotations, in order of creation.
SELECT id, annotation_set_id, audio_file_id, artifact_type, start_ms, end_ms, confidence, extra_data
FROM annotations
WHERE tenant_id = $1 AND annotation_set_id = $2
    AND ($3::uuid IS NULL OR audio_file_id = $3)
    AND ($4::text IS NULL OR artifact_type = $4)
    AND ($5::uuid IS NULL OR id > $5)
ORDER BY id
LIMIT $6

-- name: update
-- Replaces an annotation, all but its file.
UPDATE annotations SET artifact_type = $2, start_ms = $3, end_ms = $4, confidence = $5, extra_data = $6
WHERE id = $1

-- name: delete
-- One annotation.
DELETE FROM annotations WHERE id = $1
