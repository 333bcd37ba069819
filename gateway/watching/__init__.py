"""Streams events to watchers: topics wake them, and each has a cursor."""
