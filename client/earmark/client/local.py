"""Earmark on this machine: a trainer and a gateway as child processes, watched over."""

import importlib.metadata
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import IO, Self

import grpc
from earmark.client.errors import EarmarkError

DEFAULT_PORT = 50051
DEFAULT_TRAINER_PORT = 50052
START_SECONDS = 120.0
# A worker stops between two device calls, a gateway lets running calls end; both well within this.
STOP_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_LONGEST_PAUSE = 30.0
_SERVING = b"\x08\x01"
# The child asks Linux to be stopped with its parent, however that ends, and becomes the service. Linux means
# the parent's thread that started it, so no passing thread may do that.
_LAUNCH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
"""


class ServiceError(EarmarkError):
    """A service could not start."""


@dataclass(frozen=True)
class _Ready:
    child: "_Child"
    address: str


@dataclass(frozen=True)
class _Ended:
    child: "_Child"


@dataclass(frozen=True)
class _Stop:
    """Somebody asked for the end."""


_News = _Ready | _Ended | _Stop


class _Child:
    """One service as a process; what happens to it goes to `news`, what it logs to `log`."""

    def __init__(self, name: str, news: "queue.SimpleQueue[_News]", log: Callable[[str], None]) -> None:
        self.name = name
        self.process: subprocess.Popen[str] | None = None
        self.started = 0.0
        self.pause = 1.0
        self.own: Mapping[str, str] = {}
        self._news = news
        self._log = log
        self._last: deque[str] = deque(maxlen=20)
        self._readers: list[threading.Thread] = []

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process; `_Ready` or `_Ended` follow."""
        self._last.clear()
        self.started = time.monotonic()
        # A session of its own: Ctrl-C is for the parent, which stops its children in order.
        self.process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-c", _LAUNCH, self.name],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment, **self.own},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._readers = [
            _thread(self._read, self.process.stdout, self._hear),
            _thread(self._read, self.process.stderr, self._pass_on),
        ]
        _thread(self._wait, self.process)

    def stop(self) -> None:
        """Ask the process to end, wait for it, and end it where it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._log(f"{self.name} did not stop within {STOP_SECONDS:g} s and is killed")
            self.process.kill()
            self.process.wait()
        for reader in self._readers:
            reader.join(1)

    def obituary(self) -> str:
        """Return how the process ended and the last thing it said."""
        code = self.process.returncode if self.process else 0
        if code < 0:
            return f"the {self.name} was killed by {signal.Signals(-code).name}"
        last = next((line for line in reversed(self._last) if line.strip()), "")
        return f"the {self.name} ended with exit code {code}" + (f": {last}" if last else "")

    def _hear(self, line: str) -> None:
        if found := re.match(rf"{self.name} listening on (\S+)", line):
            self._news.put(_Ready(self, found[1]))
        else:
            self._pass_on(line)

    def _pass_on(self, line: str) -> None:
        self._last.append(line)
        self._log(f"{self.name}  {line}")

    @staticmethod
    def _read(stream: IO[str], use: Callable[[str], None]) -> None:
        with stream:
            for line in stream:
                use(line.rstrip("\n"))

    def _wait(self, process: "subprocess.Popen[str]") -> None:
        process.wait()
        for reader in self._readers:
            reader.join(1)  # its last words may still be on their way
        self._news.put(_Ended(self))


class LocalSystem:
    """A trainer and a gateway with one data directory, started together and stopped together.

    `settings` are EARMARK_* variables over those of this process; `log` gets each line that either service
    logs and what happens to them. Used as a context manager it starts on entry and stops on exit.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, log: Callable[[str], None] = print) -> None:
        self.address = ""
        self._settings = dict(settings or {})
        self._log = log
        self._news: queue.SimpleQueue[_News] = queue.SimpleQueue()
        self._trainer = _Child("trainer", self._news, log)
        self._gateway = _Child("gateway", self._news, log)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start both and return when the gateway is healthy. Raises ServiceError."""
        for name in ("trainer", "gateway"):
            require_extra(name)
        # Only the gateway beside it calls the trainer, whatever address the gateway is to be called at.
        trainer = self._start(self._trainer, {"EARMARK_HOST": "127.0.0.1"})
        self._settings["EARMARK_TRAINER_PORT"] = trainer.rpartition(":")[2]
        self._settings["EARMARK_TRAINERS"] = reachable(trainer)
        gateway = self._start(self._gateway)
        self._settings["EARMARK_PORT"] = gateway.rpartition(":")[2]
        self.address = reachable(gateway)
        _await_health(self.address)

    def serve(self) -> None:
        """Watch over both until `ask_to_stop`: one that dies is started again, after a pause that grows."""
        due: dict[_Child, float] = {}
        while True:
            try:
                news = self._news.get(timeout=_until(min(due.values(), default=None)))
            except queue.Empty:
                for child in [child for child, at in due.items() if at <= time.monotonic()]:
                    del due[child]
                    child.start(self._settings)
                continue
            if isinstance(news, _Stop):
                return
            if isinstance(news, _Ready):
                self._log(f"the {news.child.name} is back")
            else:
                due[news.child] = time.monotonic() + self._mourn(news.child)

    def ask_to_stop(self) -> None:
        """Make `serve` return, from a signal handler or another thread."""
        self._news.put(_Stop())

    def stop(self) -> None:
        """Stop both and wait: the gateway first, so that it does not take its trainer for lost."""
        self._gateway.stop()
        self._trainer.stop()

    def _start(self, child: _Child, own: Mapping[str, str] | None = None) -> str:
        """Start a child, with settings of its `own`, and return the address on which it listens."""
        child.own = own or {}
        child.start(self._settings)
        try:
            news = self._news.get(timeout=START_SECONDS)
        except queue.Empty:
            raise ServiceError(f"the {child.name} did not start within {START_SECONDS:g} s") from None
        if isinstance(news, _Ready):
            return news.address
        if isinstance(news, _Stop):
            raise ServiceError("stopped while starting")
        raise ServiceError(news.child.obituary())

    def _mourn(self, child: _Child) -> float:
        """Say that a child died, and return the seconds until its next start."""
        if time.monotonic() - child.started > _STEADY_SECONDS:
            child.pause = 1.0
        pause = child.pause
        child.pause = min(_LONGEST_PAUSE, pause * 2)
        self._log(f"{child.obituary()}; it is started again in {pause:g} s")
        return pause


def require_extra(extra: str) -> None:
    """Raise ServiceError unless everything that the extra of `earmark` asks for is installed."""
    for requirement in importlib.metadata.requires("earmark") or []:
        name = re.match(r"[\w.-]+", requirement)
        if name is None or not re.search(rf"extra == ['\"]{extra}['\"]", requirement):
            continue
        try:
            importlib.metadata.distribution(name[0])
        except importlib.metadata.PackageNotFoundError:
            raise ServiceError(
                f'the {extra} needs {name[0]}, which is not installed: pip install "earmark[{extra}]"'
            ) from None


def reachable(address: str) -> str:
    """Return `address` as a client on this machine calls it: a wildcard host becomes localhost."""
    host, _, port = address.rpartition(":")
    return f"localhost:{port}" if host in {"", "0.0.0.0", "[::]", "::", "*"} else address  # noqa: S104


def _await_health(address: str) -> None:
    """Return when the gateway's standard health service says that it serves."""
    deadline = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(address) as channel:
        # By its wire form, since the health stubs are not part of the base install.
        check: Callable[..., bytes] = channel.unary_unary("/grpc.health.v1.Health/Check")
        while time.monotonic() < deadline:
            if check(b"", wait_for_ready=True, timeout=deadline - time.monotonic()) == _SERVING:
                return
            time.sleep(0.1)
    raise ServiceError(f"the gateway at {address} does not become healthy")


def _until(moment: float | None) -> float | None:
    """Return the seconds from now to `moment`, None where there is none."""
    return None if moment is None else max(0.0, moment - time.monotonic())


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
