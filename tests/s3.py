"""A small server that answers as S3 does: one bucket, one pair of keys, and objects in memory."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

BUCKET = "audio"
KEY = "an-access-key"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "here"}


class _Handler(BaseHTTPRequestHandler):
    server: "S3"
    protocol_version = "HTTP/1.1"

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        if self._is_allowed():
            self.server.objects[self.path] = data
            self._answer(200, b"", ETag='"1"')

    def do_GET(self) -> None:
        if self._is_allowed():
            if self.path in self.server.objects:
                modified = "Thu, 01 Jan 2026 00:00:00 GMT"
                self._answer(200, self.server.objects[self.path], ETag='"1"', Last_Modified=modified)
            else:
                self._refuse(404, "NoSuchKey")

    def do_POST(self) -> None:
        """DeleteObjects, with which obstore deletes even one."""
        request = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self._is_allowed():
            keys = re.findall("<Key>(.*?)</Key>", request)
            for key in keys:
                self.server.objects.pop(f"/{BUCKET}/{key}", None)
            deleted = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            self._answer(200, f"<DeleteResult>{deleted}</DeleteResult>".encode())

    def _is_allowed(self) -> bool:
        if f"Credential={KEY}/" not in self.headers.get("Authorization", ""):
            self._refuse(403, "InvalidAccessKeyId")
        elif re.split("[/?]", self.path)[1] != BUCKET:
            self._refuse(404, "NoSuchBucket")
        else:
            return True
        return False

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, f"<Error><Code>{code}</Code></Error>".encode())

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Prints nothing."""


class S3(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.objects: dict[str, bytes] = {}

    @property
    def settings(self) -> dict[str, str]:
        """The environment of a service that uses it."""
        address = f"http://127.0.0.1:{self.server_address[1]}"
        return CREDENTIALS | {"AWS_ENDPOINT_URL": address, "AWS_ALLOW_HTTP": "true"}


@contextmanager
def serving(port: int = 0) -> Iterator[S3]:
    with S3(port) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
