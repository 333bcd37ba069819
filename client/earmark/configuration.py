"""Reads the settings of a service, and says in words what is wrong with them."""

import os
import re
import tempfile
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, CliApp

PREFIX = "EARMARK_"
# Every variable that a part of Earmark reads. The services and the client often share one environment.
VARIABLES = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "ACCESS_LOG",
        "ADDRESS",
        "API_KEY",
        "AUDIT_DAYS",
        "AUDIO_FILES_PER_PROCESS",
        "AUDIO_MAX_SAMPLES",
        "AUDIO_MAX_SAMPLES_PER_SECOND",
        "AUDIO_MAX_SECONDS",
        "AUDIO_MEMORY_MB",
        "AUDIO_MIN_SPEED",
        "AUDIO_PROCESSES",
        "AUDIO_SCRATCH_MB",
        "CA",
        "CLIENT_CERTIFICATE",
        "CLIENT_KEY",
        "DATABASE_POOL_SIZE",
        "DATABASE_URL",
        "DATA_DIR",
        "DETECTION_SOURCES",
        "DEVICE",
        "DISK_RESERVE_MB",
        "EVENT_RETENTION_DAYS",
        "EXECUTOR",
        "GPU_DETECTION_MEMORY_FRACTION",
        "GPU_MEMORY_FRACTION",
        "HEARTBEAT_SECONDS",
        "HOST",
        "LEASE_SECONDS",
        "LIVE_STREAMS",
        "LOG_LEVEL",
        "LONG_CALL_CONNECTIONS",
        "MAX_ATTEMPTS",
        "MAX_CALLER_DETECTIONS",
        "MAX_CALLER_DOWNLOADS",
        "MAX_CALLER_MESSAGE_MB",
        "MAX_CALLER_UPLOADS",
        "MAX_CALLER_WATCHES",
        "MAX_DETECTION_JOBS",
        "MAX_TENANT_AUDIO_HOURS",
        "MAX_TENANT_CALLERS",
        "MAX_TENANT_DETECTION_SECONDS",
        "MAX_TENANT_FILES",
        "MAX_TENANT_REQUESTS",
        "MAX_TENANT_STORAGE_MB",
        "MAX_TENANT_STREAMS",
        "MAX_TRAINING_JOBS",
        "MAX_UNFINISHED_UPLOAD_MB",
        "MAX_WAITING_JOBS",
        "METRICS_HOST",
        "METRICS_PORT",
        "NETWORK",
        "OBJECT_STORE",
        "PORT",
        "PRECOMPILE",
        "PROFILE",
        "RAY_ADDRESS",
        "REFLECTION",
        "RETRY_SECONDS",
        "STOP_GRACE_SECONDS",
        "STREAM_IDLE_SECONDS",
        "TEST_DATABASE_URL",
        "TLS_CERTIFICATE",
        "TLS_CLIENT_CA",
        "TLS_KEY",
        "TRACES_ENDPOINT",
        "TRAINERS",
        "TRAINER_METRICS_PORT",
        "TRAINER_PORT",
        "TRAINER_REFLECTION",
        "TRAINER_SECRET",
        "TRAINER_SILENCE_SECONDS",
        "TRAINER_TLS_CA",
        "TRAINER_TLS_CERTIFICATE",
        "TRAINER_TLS_KEY",
        "TRAINER_TLS_NAME",
    )
)
# An empty list is a list.
MAY_BE_EMPTY = f"{PREFIX}TRAINERS"
# Kubernetes adds these for each Service whose name begins with "earmark".
_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)(_\w+)?$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$")
_NO_SERVICE_LINKS = "Kubernetes sets it for a Service named earmark: set enableServiceLinks: false in the pod"

Settings = TypeVar("Settings", bound=BaseSettings)


class SettingsError(Exception):
    """The settings are wrong, or what they name cannot be used. Each line of the message is a problem."""


def read(kind: type[Settings]) -> Settings:
    """The settings from the command line and the environment. Raises SettingsError."""
    problems = list(_problems_of_variables())
    if problems:
        raise SettingsError("\n".join(problems))
    try:
        return CliApp.run(kind)
    except ValidationError as error:
        raise SettingsError("\n".join(_described(kind, problem) for problem in error.errors())) from error


def _problems_of_variables() -> Iterator[str]:
    for name, value in os.environ.items():
        if not name.startswith(PREFIX):
            continue
        if value.startswith(("tcp://", "udp://", "sctp://")) and name in VARIABLES:
            yield f"{name} is {value!r}: {_NO_SERVICE_LINKS}"
        elif name in VARIABLES:
            if not value and name != MAY_BE_EMPTY:
                yield f"{name} is empty: give it a value, or unset it for the default"
        elif not _KUBERNETES.search(name):
            yield f"{name} is no setting of Earmark{_suggestion(name)}"


def _suggestion(name: str) -> str:
    nearest = get_close_matches(name, VARIABLES, n=1)
    return f": is {nearest[0]} meant?" if nearest else ": --help lists them"


def _described(kind: type[BaseSettings], problem: ErrorDetails) -> str:
    """A line about an invalid setting: the environment variable, its value and what is wrong with it."""
    field = ".".join(map(str, problem["loc"]))
    name, text = f"{PREFIX}{field.upper()}", problem["msg"].removeprefix("Value error, ")
    declared = kind.model_fields.get(field)
    # A value with a password is not shown.
    shown = "" if declared is not None and not declared.repr else f" is {problem['input']!r}"
    return f"{name}{shown}: {text}"


def check_folder(folder: Path) -> None:
    """Creates the data folder if it is missing, and writes a file to it. Raises SettingsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"earmark")
    except OSError as error:
        raise SettingsError(
            f"the data folder {folder.absolute()} cannot be written: {error.strerror}."
            f" Set {PREFIX}DATA_DIR to a folder that user {os.geteuid()} may write"
        ) from error
