-- name: lock_versions
-- Lets one transaction at a time create a set of the dataset. It is an advisory lock because a lock on the dataset's
-- row would block every upload during a long copy.
SELECT pg_advisory_xact_lock(hashtextextended('annotation_sets ' || $1::uuid, 0))

-- name: create_set
-- Adds a draft with the dataset's next version. The caller has run lock_versions.
INSERT INTO annotation_sets (id, tenant_id, dataset_id, version)
SELECT $1::uuid, $2::text, $3::uuid, coalesce(max(version), 0) + 1 FROM annotation_sets WHERE dataset_id = $3

-- name: get_set
-- One set with its totals.
SELECT id, dataset_id, version, status, totals, revision, created_at, published_at
FROM annotation_set_details
WHERE tenant_id = $1 AND id = $2

-- name: set_exists
-- Whether the tenant has this set.
SELECT true FROM annotation_sets WHERE tenant_id = $1 AND id = $2

-- name: share_set
-- Prevents edits and the deletion of a set until the transaction ends; other readers do not wait.
SELECT id, dataset_id, version, status, revision FROM annotation_sets WHERE tenant_id = $1 AND id = $2 FOR SHARE

-- name: list_sets
-- A page of a dataset's sets, newest version first.
SELECT id, dataset_id, version, status, totals, revision, created_at, published_at
FROM annotation_set_details
WHERE tenant_id = $1 AND dataset_id = $2
    AND (cardinality($3::text[]) = 0 OR status = ANY ($3))
    AND ($4::integer IS NULL OR version < $4)
ORDER BY version DESC
LIMIT $5

-- name: lock_dataset_of_set
-- Locks a set's dataset as datasets.lock_for_key_share does: its types and files cannot be deleted.
SELECT id FROM datasets
WHERE id = (SELECT dataset_id FROM annotation_sets WHERE tenant_id = $1 AND id = $2)
FOR KEY SHARE

-- name: lock_dataset
-- Locks a set's dataset until the transaction ends, which protects its sets and files as well.
SELECT id FROM datasets
WHERE id = (SELECT dataset_id FROM annotation_sets WHERE tenant_id = $1 AND id = $2)
FOR UPDATE

-- name: lock_set
-- Locks a set until the transaction ends: edits, publishing and deletion by others wait.
SELECT id, dataset_id, version, status, revision FROM annotation_sets WHERE tenant_id = $1 AND id = $2 FOR UPDATE

-- name: touch_set
-- Gives a draft its next revision after an edit.
UPDATE annotation_sets SET revision = revision + 1 WHERE id = $1

-- name: cut_ends
-- Cuts the ends that are at most $2 ms beyond their file to its duration.
UPDATE annotations a SET end_ms = f.duration_ms
FROM audio_files f
WHERE a.annotation_set_id = $1 AND f.id = a.audio_file_id
    AND a.end_ms > f.duration_ms AND a.end_ms <= f.duration_ms + $2

-- name: publish
-- Publishes a set, which never changes afterwards, and stores its totals.
UPDATE annotation_sets SET
    status = 'published',
    published_at = now(),
    revision = revision + 1,
    totals = (SELECT d.totals FROM annotation_set_details d WHERE d.id = annotation_sets.id)
WHERE id = $1

-- name: ids_to_copy
-- The next batch of a set's annotations, by id.
SELECT id FROM annotations
WHERE annotation_set_id = $1 AND ($2::uuid IS NULL OR id > $2)
ORDER BY id
LIMIT $3

-- name: copy
-- Copies the annotations $2 into the set $1 under the new ids $3.
INSERT INTO annotations
    (id, tenant_id, annotation_set_id, audio_file_id, dataset_id, artifact_type, start_ms, end_ms, confidence,
     extra_data, channel)
SELECT pair.new_id, tenant_id, $1, audio_file_id, dataset_id, artifact_type, start_ms, end_ms, confidence,
    extra_data, channel
FROM unnest($2::uuid[], $3::uuid[]) AS pair (old_id, new_id)
JOIN annotations ON annotations.id = pair.old_id

-- name: types
-- The names of a dataset's artifact types, in order.
SELECT name FROM artifact_types WHERE dataset_id = $1 ORDER BY position

-- name: files
-- Those of the given files that belong to the dataset.
SELECT id, processing_status, duration_ms, channels, error_message FROM audio_files
WHERE dataset_id = $1 AND id = ANY ($2::uuid[])

-- name: unusable_files
-- Up to $3 files with annotations in the set that failed or whose duration is not known yet.
SELECT id, processing_status, duration_ms, channels, error_message FROM audio_files
WHERE dataset_id = $1 AND (processing_status = 'failed' OR duration_ms = 0)
    AND EXISTS (SELECT FROM annotations WHERE annotation_set_id = $2 AND audio_file_id = audio_files.id)
ORDER BY id LIMIT $3

-- name: outside_audio
-- Up to $3 annotations that end more than $2 ms after their file does, start after it, or are in a channel that it does
-- not have.
SELECT a.id, a.audio_file_id, a.start_ms, a.end_ms, a.channel, f.duration_ms, f.channels
FROM annotations a
JOIN audio_files f ON f.id = a.audio_file_id
WHERE a.annotation_set_id = $1 AND f.duration_ms > 0
    AND (a.end_ms > f.duration_ms + $2 OR a.start_ms >= f.duration_ms OR a.channel >= f.channels)
ORDER BY a.id LIMIT $3

-- name: add
-- Adds annotations to one set; each array has one element per annotation.
INSERT INTO annotations
    (tenant_id, annotation_set_id, dataset_id, id, audio_file_id, artifact_type, start_ms, end_ms, confidence,
     extra_data, channel)
SELECT $1, $2, $3, n.id, n.audio_file_id, n.artifact_type, n.start_ms, n.end_ms, n.confidence, n.extra_data::jsonb,
    n.channel
FROM unnest(
    $4::uuid[], $5::uuid[], $6::text[], $7::bigint[], $8::bigint[], $9::double precision[], $10::text[], $11::integer[]
) AS n (id, audio_file_id, artifact_type, start_ms, end_ms, confidence, extra_data, channel)

-- name: get
-- One annotation.
SELECT id, annotation_set_id, audio_file_id, artifact_type, start_ms, end_ms, confidence, extra_data, channel, version
FROM annotations
WHERE tenant_id = $1 AND id = $2

-- name: list
-- A page of a set's annotations, in order of creation.
SELECT id, annotation_set_id, audio_file_id, artifact_type, start_ms, end_ms, confidence, extra_data, channel, version
FROM annotations
WHERE tenant_id = $1 AND annotation_set_id = $2
    AND (cardinality($3::uuid[]) = 0 OR audio_file_id = ANY ($3))
    AND (cardinality($4::text[]) = 0 OR artifact_type = ANY ($4))
    AND (cardinality($5::integer[]) = 0 OR channel = ANY ($5))
    AND ($6::uuid IS NULL OR id > $6)
ORDER BY id
LIMIT $7

-- name: spans
-- Where a set's annotations in these files are whose confidence is at least $3, by file, type and channel, by onset.
SELECT audio_file_id, artifact_type, channel,
    array_agg(start_ms ORDER BY start_ms, end_ms, id) AS starts_ms,
    array_agg(end_ms ORDER BY start_ms, end_ms, id) AS ends_ms
FROM annotations
WHERE annotation_set_id = $1 AND audio_file_id = ANY ($2::uuid[]) AND confidence >= $3
GROUP BY audio_file_id, artifact_type, channel
ORDER BY audio_file_id, artifact_type, channel

-- name: update
-- Replaces everything but an annotation's file.
UPDATE annotations SET
    artifact_type = $2, start_ms = $3, end_ms = $4, confidence = $5, extra_data = $6, channel = $7,
    version = version + 1
WHERE id = $1

-- name: delete
-- Deletes one annotation.
DELETE FROM annotations WHERE id = $1
