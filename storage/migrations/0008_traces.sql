-- The span of the call that created a job, as W3C Trace Context writes it, so that its attempts are in the same trace. NULL if
-- the call was not traced.

ALTER TABLE training_jobs ADD COLUMN traceparent text;
