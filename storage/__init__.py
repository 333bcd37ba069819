"""What Earmark keeps: rows in PostgreSQL, files in an object store."""
