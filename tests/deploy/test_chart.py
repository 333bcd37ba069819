"""The chart renders to what Kubernetes accepts, under the restricted profile, with settings that exist."""

import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
import yaml

from earmark.configuration import VARIABLES
from tests.deploy import tools

needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm, which brings helm, is not installed")

NEEDED = ("existingSecret=earmark",)
TLS = (
    "tls.clients.existingSecret=clients",
    "tls.clients.requireCertificates=true",
    "tls.trainers.gatewaySecret=gateways",
    "tls.trainers.trainerSecret=trainers",
    "tls.trainers.name=trainer.internal",
)
POSTGRESQL = ("keda.enabled=true", "keda.postgresql.existingSecret=scaler", "keda.filesPerTrainer=2")
PROMETHEUS = (
    "keda.enabled=true",
    "keda.trigger=prometheus",
    "keda.prometheus.serverAddress=http://prometheus",
)
VARIANTS = {
    "plain": NEEDED,
    "whole": (
        *NEEDED,
        *TLS,
        *POSTGRESQL,
        "trainer.gpu.enabled=true",
        "trainer.gpu.runtimeClassName=nvidia",
        "trainer.nodeSelector.gpu=h100",
        "gateway.autoscaling.enabled=true",
        "objectStore.existingSecret=store",
        "objectStore.environment.AWS_REGION=eu-central-1",
        "image.registry=registry.example.com/audio",
        "image.pullSecrets[0].name=pull",
        "monitoring.from[0].namespaceSelector.matchLabels.name=monitoring",
        "networkPolicy.clients[0].podSelector.matchLabels.app=backend",
        "networkPolicy.database.to[0].ipBlock.cidr=10.0.0.0/24",
    ),
    "metrics": (*NEEDED, *PROMETHEUS, "podDisruptionBudget.enabled=false", "networkPolicy.enabled=false"),
}
Objects = dict[tuple[str, str], dict[str, Any]]


@pytest.fixture(scope="module")
def helm() -> Path:
    return tools.helm()


@pytest.fixture(scope="module")
def variants(helm, tmp_path_factory) -> dict[str, Path]:
    """The file with what each variant renders to."""
    folder = tmp_path_factory.mktemp("chart")
    files = {name: folder / f"{name}.yaml" for name in VARIANTS}
    for name, values in VARIANTS.items():
        done = tools.rendered(helm, *values)
        assert done.returncode == 0, done.stderr
        files[name].write_text(done.stdout)
    return files


def objects(file: Path) -> Objects:
    every = [found for found in yaml.safe_load_all(file.read_text()) if found]
    named = {(found["kind"], found["metadata"]["name"]): found for found in every}
    assert len(named) == len(every)
    return named


def pods(of: Objects) -> dict[str, dict[str, Any]]:
    """The specifications of the pods of both services."""
    found = {
        "gateway": of["Deployment", "test-earmark-gateway"],
        "trainer": of["StatefulSet", "test-earmark-trainer"],
    }
    return {name: workload["spec"]["template"]["spec"] for name, workload in found.items()}


def environment(pod: dict[str, Any]) -> dict[str, Any]:
    variables = pod["containers"][0]["env"]
    names = [variable["name"] for variable in variables]
    assert len(set(names)) == len(names)
    return {variable["name"]: variable.get("value", variable.get("valueFrom")) for variable in variables}


@needs_npm
def test_kubernetes_accepts_every_variant(variants) -> None:
    assert tools.validated(variants.values()) == ""


@needs_npm
@pytest.mark.parametrize("name", VARIANTS)
def test_pods_keep_to_the_restricted_profile(variants, name) -> None:
    for pod in pods(objects(variants[name])).values():
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert {"/data", "/tmp"} <= {mount["mountPath"] for mount in container["volumeMounts"]}
        assert {volume["name"] for volume in pod["volumes"]} == {
            mount["name"] for mount in container["volumeMounts"]
        }


@needs_npm
@pytest.mark.parametrize("name", VARIANTS)
def test_every_setting_exists_and_trainers_do_not_get_the_database(variants, name) -> None:
    of = {service: environment(pod) for service, pod in pods(objects(variants[name])).items()}
    names = {name for variables in of.values() for name in variables if name.startswith("EARMARK_")}
    assert names <= VARIABLES
    assert "EARMARK_DATABASE_URL" in of["gateway"]
    assert "EARMARK_DATABASE_URL" not in of["trainer"]
    assert of["gateway"]["EARMARK_TRAINER_SECRET"] == of["trainer"]["EARMARK_TRAINER_SECRET"]


@needs_npm
def test_gateways_look_the_trainers_up_by_their_service(variants) -> None:
    found = objects(variants["plain"])
    service = found["Service", "test-earmark-trainer"]["spec"]
    labels = found["StatefulSet", "test-earmark-trainer"]["spec"]["template"]["metadata"]["labels"]
    assert service["clusterIP"] == "None"
    assert service["selector"].items() <= labels.items()
    trainers = environment(pods(found)["gateway"])["EARMARK_TRAINERS"]
    assert trainers == "dns:///test-earmark-trainer.default.svc:50052"


@needs_npm
def test_probes_are_of_grpc_unless_the_port_has_tls(variants) -> None:
    """Kubernetes' gRPC probes do not speak TLS."""
    for name, kind in (("plain", "grpc"), ("whole", "httpGet")):
        for pod in pods(objects(variants[name])).values():
            (container,) = pod["containers"]
            assert all(kind in container[f"{probe}Probe"] for probe in ("startup", "readiness", "liveness"))


@needs_npm
@pytest.mark.parametrize("name", VARIANTS)
def test_kubernetes_waits_longer_than_the_services_drain(variants, name) -> None:
    for pod in pods(objects(variants[name])).values():
        assert (
            pod["terminationGracePeriodSeconds"] >= float(environment(pod)["EARMARK_STOP_GRACE_SECONDS"]) + 10
        )


@needs_npm
def test_a_trainer_with_a_gpu_asks_for_one(variants) -> None:
    pod = pods(objects(variants["whole"]))["trainer"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert container["image"] == "registry.example.com/audio/earmark-trainer-cuda:0.1.0"
    assert environment(pod)["EARMARK_DEVICE"] == "cuda"


@needs_npm
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((), "existingSecret"),
        ((*NEEDED, "trainer.replica=3"), "additional properties 'replica'"),
        ((*NEEDED, "tls.trainers.trainerSecret=a"), "belong together"),
        ((*NEEDED, "keda.enabled=true"), "keda.postgresql.existingSecret"),
        ((*NEEDED, "environment.earmark_port=1"), "earmark_port"),
    ],
)
def test_wrong_values_are_refused_in_words(helm, values, message) -> None:
    done = tools.rendered(helm, *values)
    assert done.returncode
    assert message in done.stderr


@asynccontextmanager
async def scaler(owner: asyncpg.Connection, url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of the role of the chart's for KEDA, with a name of its own: roles are the server's."""
    name, password = f"scaler_{uuid4().hex}", "a password"
    script = (tools.CHART / "files" / "scaler-role.sql").read_text()
    await owner.execute(script.replace("earmark_scaler", name))
    await owner.execute(f"ALTER ROLE {name} PASSWORD '{password}'")
    try:
        connection = await asyncpg.connect(url, user=name, password=password)
        try:
            yield connection
        finally:
            await connection.close()
    finally:
        await owner.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


@needs_npm
async def test_the_scaler_counts_the_work_of_all_tenants_and_sees_nothing_else(
    variants, database_url
) -> None:
    scaled = objects(variants["whole"])["ScaledObject", "test-earmark-trainer"]["spec"]
    query = scaled["triggers"][0]["metadata"]["query"]
    owner = await asyncpg.connect(database_url)
    try:
        async with scaler(owner, database_url) as role:
            assert await role.fetchval(query) == 0
            for tenant, files in (("one", 2), ("two", 3)):
                await insert_files(owner, tenant, files)
            # With two files for each trainer.
            assert await role.fetchval(query) == 3
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await role.fetch("SELECT original_filename FROM audio_files")
    finally:
        await owner.close()


async def insert_files(owner: asyncpg.Connection, tenant: str, count: int) -> None:
    dataset = uuid4()
    await owner.execute("INSERT INTO tenants (id, display_name) VALUES ($1, $1)", tenant)
    await owner.execute(
        "INSERT INTO datasets (id, tenant_id, name, description) VALUES ($1, $2, 'calls', '')",
        dataset,
        tenant,
    )
    for number in range(count):
        await owner.execute(
            "INSERT INTO audio_files (id, tenant_id, dataset_id, original_filename, content_type, size_bytes,"
            " sha256, revision) VALUES ($1, $2, $3, 'call.wav', 'audio/wav', 1, '', $4)",
            uuid4(),
            tenant,
            dataset,
            number + 1,
        )


@needs_npm
def test_the_lock_of_helm_names_no_registry() -> None:
    lock = json.loads((tools.FOLDER / "helm" / "package-lock.json").read_text())
    packages = [package for package in lock["packages"].values() if "version" in package]
    assert packages
    assert all("integrity" in package and "resolved" not in package for package in packages)
