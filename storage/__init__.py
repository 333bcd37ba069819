"""Persistent state: rows in PostgreSQL, files in an object store."""
