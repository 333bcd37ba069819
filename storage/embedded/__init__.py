"""A PostgreSQL server that ships with the package, for machines without one."""

from earmark.storage.embedded.cluster import DataDirectoryInUseError, EmbeddedPostgresError
from earmark.storage.embedded.server import EmbeddedPostgres

__all__ = ["DataDirectoryInUseError", "EmbeddedPostgres", "EmbeddedPostgresError"]
