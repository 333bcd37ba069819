"""A process that decodes, taken over by its file: it speaks the pipe, and does what its file wants.

It is confined like the real one. Then, for each file, it does what the source says and writes what came of it
into the file for the features.
"""

import ctypes
import json
import os
import pickle
import socket
import subprocess
import time
from pathlib import Path

from earmark.trainer.workers.decoding import DecodeFiles
from earmark.trainer.workers.limits import limit_resources
from earmark.trainer.workers.packets import LENGTH, MAX_BYTES
from earmark.trainer.workers.sandbox import confine
from earmark.trainer.workers.wire import Decoded, DecodeFailed, DecoderReady, Featured

PTRACE_ATTACH = 16
DECODED = Decoded(duration_ms=1000, sample_rate=16_000, channels=1)


class Marker:
    """Unpickling it creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (Path(self.path),)


def attempt(call, *arguments):
    """What the call returns, or the name of the error."""
    try:
        return str(call(*arguments))
    except OSError as error:
        return type(error).__name__


def listen():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))


def attempts(facts):
    """Tries what an exploited decoder may not."""
    return {
        "environment": dict(os.environ),
        "read": attempt(Path(facts["secret"]).read_text),
        "environment of the trainer": attempt(Path(f"/proc/{os.getppid()}/environ").read_bytes),
        "write": attempt(Path(facts["outside"]).write_text, "x"),
        "connect": attempt(lambda: socket.socket().connect(("127.0.0.1", facts["port"]))),
        "connect to a file": attempt(lambda: socket.socket(socket.AF_UNIX).connect(facts["unix"])),
        "listen": attempt(listen),
        "fork": attempt(os.fork),
        "run": attempt(subprocess.run, ["true"]),
        "signal": attempt(os.kill, os.getppid(), 0),
        "trace": ctypes.CDLL(None).ptrace(PTRACE_ATTACH, os.getppid(), 0, 0),
        "user": os.geteuid(),
    }


def try_everything(connection, facts, files):
    os.write(files.features, json.dumps(attempts(facts)).encode())
    connection.send(DECODED)
    connection.send(Featured())


def send_pickle(connection, facts, _files):
    connection._socket.sendall(packet(pickle.dumps(Marker(facts["outside"]))))


def flood(connection, _facts, _files):
    while True:
        connection.send(DECODED)


def write(_connection, _facts, _files):
    while True:
        os.write(2, b"x" * (1 << 16))


def packet(data):
    return LENGTH.pack(len(data)) + data


def sending(data):
    return lambda connection, _facts, _files: connection._socket.sendall(data)


# What it does, by the name in the source.
ACTS = {
    "try everything": try_everything,
    "pickle": send_pickle,
    "garbage": sending(b"\xff" * 100_000),
    "huge": sending(LENGTH.pack(1 << 31)),
    "nested": sending(packet(b"Decoded " + b"[" * 10_000)),
    "wrong type": sending(packet(b'Decoded {"duration_ms": "1", "sample_rate": 8000, "channels": 1}')),
    "unknown": sending(packet(b"StopJob {}")),
    "control characters": sending(packet(b'DecodeFailed {"reason": "INVALID_AUDIO", "message": "a\\u0000"}')),
    "out of turn": lambda connection, _facts, _files: connection.send(Featured()),
    "close": lambda connection, _facts, _files: connection._socket.shutdown(socket.SHUT_RDWR),
    "hang": lambda _connection, _facts, _files: None,
    "exit": lambda _connection, _facts, _files: os._exit(3),
    "full disk": lambda connection, _facts, _files: connection.send(DecodeFailed("DISK_FULL", "believe me")),
    "flood": flood,
    "write": write,
}
GOES_ON = ("try everything", "full disk")


def serve(connection, limits):
    limit_resources(limits)
    connection.send(DecoderReady(confine()))
    while True:
        _, descriptors = connection.recv_with_descriptors()
        files = DecodeFiles(*descriptors)
        facts = json.loads(os.read(files.source, MAX_BYTES))
        ACTS[facts["do"]](connection, facts, files)
        while facts["do"] not in GOES_ON:
            time.sleep(3600)
