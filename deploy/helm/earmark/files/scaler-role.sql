-- A role that sees how much work there is, and nothing else. Run it once as a superuser, after the first gateway has
-- started, and give the role a password: ALTER ROLE earmark_scaler PASSWORD '...'
CREATE ROLE earmark_scaler LOGIN;
GRANT SELECT (status, tenant_id) ON training_jobs, detection_jobs TO earmark_scaler;
GRANT SELECT (processing_status, tenant_id) ON audio_files TO earmark_scaler;
-- Row-level security shows the rows of one tenant only; '*' stands for all.
ALTER ROLE earmark_scaler SET earmark.tenant = '*';
