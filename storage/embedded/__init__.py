"""A PostgreSQL server that ships with the package, for machines without one."""

from storage.embedded.cluster import DataDirectoryInUseError, EmbeddedPostgresError
from storage.embedded.server import EmbeddedPostgres

__all__ = ["DataDirectoryInUseError", "EmbeddedPostgres", "EmbeddedPostgresError"]
