-- A job's best epoch so far. 0 if unknown, as in all rows older than this column.

ALTER TABLE training_jobs ADD COLUMN best_epoch integer NOT NULL DEFAULT 0;
