-- The epoch whose weights are kept: the best so far of a job, that of a model. 0 where none is known, as of all
-- that is older than this column.

ALTER TABLE training_jobs ADD COLUMN best_epoch integer NOT NULL DEFAULT 0;
ALTER TABLE models ADD COLUMN best_epoch integer NOT NULL DEFAULT 0;
