"""Logs: one line per event on stderr, as key=value on a terminal and as JSON otherwise."""

import logging
import sys

import structlog


def configure() -> None:
    """Configures structlog for the whole process."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    # Its warnings are tracebacks, one for each try to connect; the gateway itself logs that the database is
    # away.
    logging.getLogger("asyncpg.pool").setLevel(logging.ERROR)
