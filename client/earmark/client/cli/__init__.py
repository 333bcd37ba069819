"""The command line, `earmark`."""

from earmark.client.cli.app import app

__all__ = ["app"]
