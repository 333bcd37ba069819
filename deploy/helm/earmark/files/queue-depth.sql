SELECT greatest(
    (SELECT count(*) FROM training_jobs WHERE status IN ('pending', 'queued', 'training')),
    (SELECT count(*) FROM detection_jobs WHERE status IN ('pending', 'queued', 'processing')),
    (SELECT ceil(count(*) / FILES_PER_TRAINER.0) FROM audio_files
     WHERE processing_status IN ('pending', 'normalizing', 'embedding')))
