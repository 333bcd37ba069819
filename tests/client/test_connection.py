"""How a client finds its gateway: arguments, the environment, profiles, and what is said of wrong ones."""

from pathlib import Path
from typing import Any

import grpc
import pytest
from typer.testing import CliRunner

from earmark.client import ConnectionSettingsError, connect
from earmark.client.cli import app
from earmark.client.connection import Connection, resolve
from earmark.v1 import admin_service_pb2 as admin
from earmark.v1 import admin_service_pb2_grpc, training_service_pb2_grpc
from earmark.v1 import training_service_pb2 as training
from tests.certificates import Authority
from tests.client.both import Reach
from tests.client.small_gateway import Gateway

VARIABLES = ("ADDRESS", "API_KEY", "CA", "CLIENT_CERTIFICATE", "CLIENT_KEY", "PROFILE")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in VARIABLES:
        # The command line sets them: they are removed at the end, too.
        monkeypatch.setenv(f"EARMARK_{name}", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


@pytest.fixture
def profiles(tmp_path: Path) -> Path:
    path = tmp_path / "earmark" / "profiles.toml"
    path.parent.mkdir()
    path.write_text("""
[team]
address = "earmark.example.com:443"
api_key = "of the profile"
ca = "authorities.pem"

[public]
address = "public.example.com:443"
ca = "system"

[wrong]
adress = "x"
""")
    path.chmod(0o600)
    return path


def test_arguments_come_before_the_environment_and_that_before_the_profile(
    monkeypatch: pytest.MonkeyPatch, profiles: Path
) -> None:
    assert resolve() == Connection("localhost:50051", None, None, None, None)
    ca = str(profiles.parent / "authorities.pem")
    of_profile = Connection("earmark.example.com:443", "of the profile", ca, None, None)
    assert resolve(profile="team") == of_profile
    monkeypatch.setenv("EARMARK_PROFILE", "team")
    assert resolve() == of_profile
    monkeypatch.setenv("EARMARK_API_KEY", "of the environment")
    monkeypatch.setenv("EARMARK_ADDRESS", "other:1")
    assert resolve() == Connection("other:1", "of the environment", ca, None, None)
    assert resolve(address="third:1", api_key="given", ca="system") == Connection(
        "third:1", "given", "system", None, None
    )
    assert resolve(profile="public").credentials() is not None


def test_a_profile_that_is_wrong_is_described(profiles: Path) -> None:
    with pytest.raises(ConnectionSettingsError, match=r"has no profile \[other\]; it has: team, public"):
        resolve(profile="other")
    with pytest.raises(ConnectionSettingsError, match="adress of \\[wrong\\] is empty, or no field"):
        resolve(profile="wrong")
    profiles.chmod(0o644)
    with pytest.raises(ConnectionSettingsError, match="has an API key, and others may read it: make it 0600"):
        resolve(profile="team")
    assert resolve(profile="public").api_key is None
    profiles.write_text("[team")
    with pytest.raises(ConnectionSettingsError, match="cannot be read"):
        resolve(profile="team")
    profiles.unlink()
    with pytest.raises(ConnectionSettingsError, match="there is no file"):
        resolve(profile="team")


def test_certificates_of_no_use_are_described(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    one, other = authority.files("one"), authority.files("other")
    ca, missing = str(authority.path), str(tmp_path / "missing.pem")
    pair = {"client_certificate": str(one.certificate), "client_key": str(one.key)}
    connect("localhost:1", ca=ca, **pair).close()
    for arguments, expected in (
        (pair, "no CA of the gateway: set EARMARK_CA"),
        ({"ca": ca, "client_certificate": str(one.certificate)}, "needs its key"),
        ({"ca": missing}, "EARMARK_CA, .*missing.pem, cannot be read"),
        ({"ca": str(one.key)}, "has no certificate in PEM form"),
        ({"ca": ca, **pair, "client_key": str(other.key)}, "are no certificate and its key"),
    ):
        with pytest.raises(ConnectionSettingsError, match=expected):
            connect("localhost:1", **arguments)


class Keeping(admin_service_pb2_grpc.AdminServiceServicer, training_service_pb2_grpc.TrainingServiceServicer):
    """Keeps the key of every call."""

    def __init__(self) -> None:
        self.keys: list[str | None] = []

    def _keep(self, context: grpc.ServicerContext) -> None:
        self.keys.append(dict(context.invocation_metadata()).get("authorization"))

    def GetCapacity(self, _request: Any, context: grpc.ServicerContext) -> admin.GetCapacityResponse:
        self._keep(context)
        return admin.GetCapacityResponse()

    def ListTrainers(self, _request: Any, context: grpc.ServicerContext) -> admin.ListTrainersResponse:
        self._keep(context)
        return admin.ListTrainersResponse()

    def ListBackgroundTasks(self, _request: Any, context: grpc.ServicerContext) -> Any:
        self._keep(context)
        return admin.ListBackgroundTasksResponse()

    def WatchTrainingJob(self, _request: Any, context: grpc.ServicerContext) -> Any:
        self._keep(context)
        event = training.TrainingEvent(revision=1)
        event.status_changed.to = training.TRAINING_JOB_STATUS_COMPLETED
        yield training.WatchTrainingJobResponse(event=event)


def test_the_key_is_sent_with_every_call_and_stream(reach: Reach, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARMARK_API_KEY", "ek_one")
    gateway = Keeping()
    reached = reach(gateway)
    reached.result(lambda _, client: client.admin.GetCapacity(admin.GetCapacityRequest()))
    assert reached.items(lambda module, client: module.watch(client, "one"))
    assert gateway.keys == ["Bearer ek_one"] * 2


def test_the_command_line_uses_the_profile(profiles: Path) -> None:
    gateway = Keeping()
    server = Gateway(gateway)
    profiles.write_text(f'[here]\naddress = "{server.address}"\napi_key = "ek_two"\n')
    try:
        result = CliRunner().invoke(app, ["--profile", "here", "trainers"])
    finally:
        server.stop()
    assert result.exit_code == 0, result.output
    assert set(gateway.keys) == {"Bearer ek_two"}
