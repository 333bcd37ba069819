"""A child process that sends bytes that are no message, and does not exit."""

from multiprocessing.connection import Connection
from threading import Event


def serve(connection: Connection, _settings: object) -> None:
    connection.send_bytes(b"this is no pickle")
    Event().wait()
