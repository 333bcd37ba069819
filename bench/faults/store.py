"""A stand-in for S3 over a folder, which can refuse, fail, slow down or close its connections.

It serves what Earmark needs: PUT (with `If-None-Match: *`), GET, HEAD, DeleteObjects and ListObjectsV2 of one
bucket.
"""

import email.utils
import hashlib
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args
from urllib.parse import parse_qs, unquote, urlsplit
from uuid import uuid4
from xml.sax.saxutils import escape, unescape

BUCKET = "objects"
FAIL_EVERY = 10
# How soon it sees that it must stop.
POLL_SECONDS = 0.05
SLOW_SECONDS = (1.0, 3.0)

# refuse: 403 for every request; refuse deletes: AccessDenied for every key to delete; fail: every tenth
# request fails, with 500 or with the end of its connection; slow: each request waits; away: connections are
# closed.
StoreFault = Literal["refuse", "refuse deletes", "fail", "slow", "away"]
STORE_FAULTS: tuple[StoreFault, ...] = get_args(StoreFault)


class Store:
    """Serves `folder` as a bucket on a port of 127.0.0.1, in threads."""

    name = kind = "store"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        # Where objects are written before they become visible.
        self.unfinished = folder.with_name(f"{folder.name}-unfinished")
        self.fault: StoreFault | None = None
        # Set whenever an uploaded file has been stored.
        self.uploaded = threading.Event()
        # The numbers of the requests, which decide the tenth that fails.
        self.numbers = count(1)

    def __enter__(self) -> Self:
        self.folder.mkdir(exist_ok=True)
        self.unfinished.mkdir()
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(POLL_SECONDS,), name="store", daemon=True
        )
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        shutil.rmtree(self.unfinished)

    @property
    def settings(self) -> dict[str, str]:
        """What a service needs in its environment to use this store."""
        return {
            "EARMARK_OBJECT_STORE": f"s3://{BUCKET}",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self._server.server_port}",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
            "AWS_SKIP_SIGNATURE": "true",
        }

    @contextmanager
    def faulty(self, fault: StoreFault) -> Iterator[None]:
        """Has the fault for the duration of the context."""
        self.fault = fault
        try:
            yield
        finally:
            self.fault = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, store: Store) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = store

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores connections that break: that is what a drill is for."""


class _Handler(BaseHTTPRequestHandler):
    """The requests of one connection."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
        """Logs nothing."""

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._fails():
            return
        path, unfinished = self._path(), self.server.store.unfinished / uuid4().hex
        unfinished.write_bytes(body)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            if self.headers["If-None-Match"] == "*":
                os.link(unfinished, path)
                unfinished.unlink()
            else:
                unfinished.replace(path)
        except FileExistsError:
            unfinished.unlink()
            self._refuse(HTTPStatus.PRECONDITION_FAILED, "PreconditionFailed")
            return
        self._reply(HTTPStatus.OK, b"", {"ETag": _etag(body)})
        if path.name == "source":
            self.server.store.uploaded.set()

    def do_GET(self) -> None:
        if self._fails():
            return
        if not self._key():
            self._list()
            return
        try:
            body = self._path().read_bytes()
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND, "NoSuchKey")
            return
        self._reply(HTTPStatus.OK, body, {"ETag": _etag(body), "Last-Modified": email.utils.formatdate()})

    do_HEAD = do_GET  # noqa: N815 - as http.server calls it

    def do_POST(self) -> None:
        """DeleteObjects, which answers for each key."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self._fails():
            return
        refused = self.server.store.fault == "refuse deletes"
        answers = []
        for key in map(unescape, re.findall("<Key>(.*?)</Key>", body.decode())):
            if refused:
                answers.append(
                    f"<Error><Key>{escape(key)}</Key><Code>AccessDenied</Code>"
                    "<Message>Access Denied</Message></Error>"
                )
            else:
                (self.server.store.folder / key).unlink(missing_ok=True)
                answers.append(f"<Deleted><Key>{escape(key)}</Key></Deleted>")
        self._reply(HTTPStatus.OK, f"<DeleteResult>{''.join(answers)}</DeleteResult>".encode())

    def _fails(self) -> bool:
        """Applies the store's fault. Returns whether the request is over with it."""
        number = next(self.server.store.numbers)
        match self.server.store.fault:
            case "refuse":
                self._refuse(HTTPStatus.FORBIDDEN, "AccessDenied")
                return True
            case "fail" if number % FAIL_EVERY == 0:
                if number % (2 * FAIL_EVERY) == 0:
                    self.close_connection = True
                else:
                    self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, "InternalError")
                return True
            case "slow":
                time.sleep(random.uniform(*SLOW_SECONDS))
            case "away":
                self.close_connection = True
                return True
        return False

    def _key(self) -> str:
        return unquote(urlsplit(self.path).path).removeprefix(f"/{BUCKET}").strip("/")

    def _path(self) -> Path:
        return self.server.store.folder / self._key()

    def _list(self) -> None:
        """Every key below the prefix, in one page."""
        prefix = parse_qs(urlsplit(self.path).query).get("prefix", [""])[0]
        folder = self.server.store.folder
        entries = [
            f"<Contents><Key>{escape(key)}</Key><Size>{path.stat().st_size}</Size>"
            "<LastModified>2026-01-01T00:00:00Z</LastModified></Contents>"
            for path in sorted(folder.rglob("*"))
            if path.is_file() and (key := str(path.relative_to(folder))).startswith(prefix)
        ]
        text = f"<ListBucketResult><IsTruncated>false</IsTruncated>{''.join(entries)}</ListBucketResult>"
        self._reply(HTTPStatus.OK, text.encode())

    def _refuse(self, status: HTTPStatus, code: str) -> None:
        self._reply(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _reply(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()}"'
