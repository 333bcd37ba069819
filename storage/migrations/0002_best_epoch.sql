-- The best epoch: a job's best so far, and the epoch of a model's weights. 0 if unknown, as in all rows older than
-- this column.

ALTER TABLE training_jobs ADD COLUMN best_epoch integer NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN best_epoch integer NOT NULL DEFAULT 0;
