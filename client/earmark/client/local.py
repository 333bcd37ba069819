"""Earmark on this machine: a supervisor that runs a trainer and a gateway as child processes."""

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

from earmark.client.errors import EarmarkError

DEFAULT_PORT = 50051
DEFAULT_TRAINER_PORT = 50052
START_SECONDS = 120.0
# A trainer stops between two device calls, a gateway lets running calls end; both need far less than this.
STOP_SECONDS = 30.0
_STEADY_SECONDS = 60.0
_FIRST_PAUSE = 1.0
# A signal that arrives just before a wait begins does not interrupt it, so no wait is longer than this.
_LONGEST_WAIT = 1.0
_LONGEST_PAUSE = 30.0
# The child asks Linux to stop it when its parent ends, however that happens, and then becomes the service.
# Nothing is imported from the current folder (-P), which may have anything in it.
# Linux takes the thread that started the child for its parent, so a short-lived thread must not start one.
_LAUNCH = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)
os.execv(sys.executable, [sys.executable, "-P", "-m", *sys.argv[1:]])
"""


class ServiceError(EarmarkError):
    """A service could not start."""


@dataclass(frozen=True)
class _Ready:
    """A service listens on `address`."""

    service: "_ServiceProcess"
    address: str


@dataclass(frozen=True)
class _Exited:
    """The process of a service ended."""

    service: "_ServiceProcess"


@dataclass(frozen=True)
class _StopRequested:
    """The caller wants `LocalSystem.serve` to return."""


_Event = _Ready | _Exited | _StopRequested


class _ServiceProcess:
    """One service as a child process.

    It puts `_Ready` and `_Exited` into `events` and passes each line that the service logs to `log`.
    `settings` are EARMARK_* variables for this service alone, which override those given to `start`. `pause`
    is the time in seconds before its next restart.
    """

    def __init__(self, name: str, events: "queue.SimpleQueue[_Event]", log: Callable[[str], None]) -> None:
        self.name = name
        self.process: subprocess.Popen[str] | None = None
        self.started_at = 0.0
        self.pause = _FIRST_PAUSE
        self.settings: Mapping[str, str] = {}
        self._events = events
        self._log = log
        self._last_lines: deque[str] = deque(maxlen=20)
        self._readers: list[threading.Thread] = []

    def start(self, environment: Mapping[str, str]) -> None:
        """Start the process; `_Ready` or `_Exited` follows in the event queue."""
        self._last_lines.clear()
        self.started_at = time.monotonic()
        # In a session of its own, the child does not receive Ctrl-C; the parent stops its children in order.
        self.process = subprocess.Popen(  # noqa: S603 (our own interpreter and module)
            [sys.executable, "-P", "-c", _LAUNCH, f"earmark.{self.name}"],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment, **self.settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._readers = [
            _thread(self._read, self.process.stdout, self._on_stdout_line),
            _thread(self._read, self.process.stderr, self._log_line),
        ]
        _thread(self._wait, self.process)

    def stop(self) -> None:
        """Terminate the process and wait for its end; kill it if it does not end in time."""
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

    def exit_report(self) -> str:
        """Return how the process ended, and the last line that it logged."""
        code = self.process.returncode if self.process else 0
        if code < 0:
            return f"the {self.name} was killed by {signal.Signals(-code).name}"
        last = next((line for line in reversed(self._last_lines) if line.strip()), "")
        return f"the {self.name} ended with exit code {code}" + (
            f": {last.removeprefix(f'{self.name}: ')}" if last else ""
        )

    def _on_stdout_line(self, line: str) -> None:
        if match := re.match(rf"{self.name} listening on (\S+)", line):
            self._events.put(_Ready(self, match[1]))
        else:
            self._log_line(line)

    def _log_line(self, line: str) -> None:
        self._last_lines.append(line)
        self._log(f"{self.name}  {line}")

    @staticmethod
    def _read(stream: IO[str], handle: Callable[[str], None]) -> None:
        with stream:
            for line in stream:
                handle(line.rstrip("\n"))

    def _wait(self, process: "subprocess.Popen[str]") -> None:
        process.wait()
        for reader in self._readers:
            reader.join(1)  # the last lines may not have been read yet
        self._events.put(_Exited(self))


class LocalSystem:
    """A trainer and a gateway with one data directory, started together and stopped together.

    `settings` are EARMARK_* variables that override those of this process. `log` receives each line that
    either service logs, and a line for each exit and restart. As a context manager it starts on entry and
    stops on exit.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, log: Callable[[str], None] = print) -> None:
        self.address = ""
        self._settings = dict(settings or {})
        self._log = log
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._trainer = _ServiceProcess("trainer", self._events, log)
        self._gateway = _ServiceProcess("gateway", self._events, log)

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
        """Start both and return once the gateway serves. Raises ServiceError if one cannot start."""
        for name in ("trainer", "gateway"):
            require_extra(name)
        # Only the gateway on this machine calls the trainer: it stays private, whatever EARMARK_HOST is.
        trainer = self._start(self._trainer, {"EARMARK_HOST": "127.0.0.1"})
        self._settings["EARMARK_TRAINER_PORT"] = trainer.rpartition(":")[2]
        self._settings["EARMARK_TRAINERS"] = reachable(trainer)
        gateway = self._start(self._gateway)
        self._settings["EARMARK_PORT"] = gateway.rpartition(":")[2]
        self.address = reachable(gateway)

    def first_key(self) -> str:
        """Make the first API key and return it; empty if there was a key before. Raises ServiceError."""
        made = subprocess.run(
            [sys.executable, "-P", "-m", "earmark.gateway.bootstrap", "--if-none"],
            env={**os.environ, **self._settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if made.returncode:
            raise ServiceError(f"the first API key cannot be made: {made.stderr.strip()}")
        return made.stdout.strip()

    def serve(self) -> None:
        """Supervise both until `ask_to_stop`: restart one that exits, after a pause that grows."""
        restart_at: dict[_ServiceProcess, float] = {}
        while True:
            try:
                wait = min([_LONGEST_WAIT, *map(_seconds_until, restart_at.values())])
                event = self._events.get(timeout=wait)
            except queue.Empty:
                for service in [service for service, at in restart_at.items() if at <= time.monotonic()]:
                    del restart_at[service]
                    service.start(self._settings)
                continue
            if isinstance(event, _StopRequested):
                return
            if isinstance(event, _Ready):
                self._log(f"the {event.service.name} is back")
            else:
                restart_at[event.service] = time.monotonic() + self._report_exit(event.service)

    def ask_to_stop(self) -> None:
        """Make `serve` return, from a signal handler or another thread."""
        self._events.put(_StopRequested())

    def stop(self) -> None:
        """Stop both and wait: the gateway first, so that it does not report its trainer as lost."""
        self._gateway.stop()
        self._trainer.stop()

    def _start(self, service: _ServiceProcess, settings: Mapping[str, str] | None = None) -> str:
        """Start a service with `settings` for it alone, and return the address on which it listens."""
        service.settings = settings or {}
        service.start(self._settings)
        try:
            event = self._events.get(timeout=START_SECONDS)
        except queue.Empty:
            raise ServiceError(f"the {service.name} did not start within {START_SECONDS:g} s") from None
        if isinstance(event, _Ready):
            return event.address
        if isinstance(event, _StopRequested):
            raise ServiceError("stopped while starting")
        raise ServiceError(event.service.exit_report())

    def _report_exit(self, service: _ServiceProcess) -> float:
        """Log that a service exited, and return the seconds until its restart."""
        if time.monotonic() - service.started_at > _STEADY_SECONDS:
            service.pause = _FIRST_PAUSE
        pause = service.pause
        service.pause = min(_LONGEST_PAUSE, pause * 2)
        self._log(f"{service.exit_report()}; it is started again in {pause:g} s")
        return pause


def require_extra(extra: str) -> None:
    """Raise ServiceError unless every requirement of the `earmark` package's extra is installed."""
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
    """Return `address` as clients on this machine must write it: a wildcard host becomes localhost."""
    host, _, port = address.rpartition(":")
    return f"localhost:{port}" if host in {"", "0.0.0.0", "[::]", "::", "*"} else address  # noqa: S104


def _seconds_until(moment: float) -> float:
    """Return the seconds from now to `moment`, 0 if it has passed."""
    return max(0.0, moment - time.monotonic())


def _thread(target: Callable[..., None], *arguments: object) -> threading.Thread:
    thread = threading.Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread
