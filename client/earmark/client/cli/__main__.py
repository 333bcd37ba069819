"""`python -m earmark.client.cli`, for when the `earmark` command is not on the path."""

from earmark.client.cli import app

app()
