"""The PostgreSQL that comes with the package, for a machine that has none of its own."""

from storage.embedded.cluster import DataDirectoryInUseError, EmbeddedPostgresError
from storage.embedded.server import EmbeddedPostgres

__all__ = ["DataDirectoryInUseError", "EmbeddedPostgres", "EmbeddedPostgresError"]
