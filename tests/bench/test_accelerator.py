"""The run on an accelerator: what it writes when parts fail, its audio, and the wheels that it carries."""

import json
import re
import sys
import time
import tomllib
import zipfile
from pathlib import Path

import pytest

from bench.accelerator import __main__ as command
from bench.accelerator.__main__ import Part, run
from bench.accelerator.audio import join
from bench.accelerator.wheels import AT_HAND, LOCK, PACKAGES, compress, locked


def part(name, code, seconds=30.0):
    return Part(name, seconds, (sys.executable, "-c", code))


def test_a_part_that_fails_or_hangs_leaves_the_figures_of_the_others(tmp_path, monkeypatch):
    every = [
        part("good", "print('a log line'); print('{\"speed\": 3}')"),
        part("crashes", "print('{\"before\": 1}'); raise ValueError('no such device')"),
        part("hangs", "import time; print('{\"before\": 2}', flush=True); time.sleep(60)", seconds=0.3),
        part("last", "print('{\"speed\": 4}')"),
    ]
    monkeypatch.setattr(command, "parts", lambda _options, _sets: iter(every))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # so that it is as before afterwards
    out = tmp_path / "figures.json"
    assert command.main(["--out", str(out)]) == 1
    results = json.loads(out.read_text())
    assert [result["figures"] for result in results.values()] == [
        [{"speed": 3}], [{"before": 1}], [{"before": 2}], [{"speed": 4}]
    ]  # fmt: skip
    assert "no such device" in results["crashes"]["error"]
    assert "not complete" in results["hangs"]["error"]
    assert "error" not in results["good"]


def test_no_part_starts_after_the_run_has_used_its_time():
    assert run(part("late", "print('{}')"), time.monotonic() - 1) == {
        "seconds": 0.0,
        "figures": [],
        "error": "no time was left",
    }


def test_the_parts_are_modules_that_exist(tmp_path):
    options = command._options(["--minutes", "2,4"])
    parts = list(command.parts(options, tmp_path))
    modules = {part.command[2] for part in parts}
    root = Path(command.__file__).parents[2]
    assert all(root.joinpath(*module.split(".")).with_suffix(".py").exists() for module in modules)
    assert [part.name for part in parts if part.name.startswith("job")] == [
        "job_of_2_minutes",
        "job_of_4_minutes",
    ]


def test_the_shares_of_a_folder_are_joined_without_a_clash_of_names(tmp_path):
    parts = [tmp_path / "0", tmp_path / "1"]
    for number, share in enumerate(parts):
        share.mkdir()
        (share / "0000.flac").write_text(f"audio {number}")
        (share / "annotations.csv").write_text(f"filename,artifact_type\n0000.flac,type{number}\n")
    folder = tmp_path / "joined"
    folder.mkdir()
    assert join(parts, folder) == 2
    assert (folder / "annotations.csv").read_text() == (
        "filename,artifact_type\n0-0000.flac,type0\n1-0000.flac,type1\n"
    )
    assert [(folder / f"{number}-0000.flac").read_text() for number in (0, 1)] == ["audio 0", "audio 1"]


def test_only_the_packages_that_are_carried_are_taken_from_the_lock():
    lock = (
        "ab==1 \\\n    --hash=sha256:1\nab-c==2 ; x < '3' \\\n    --hash=sha256:2 \\\n    --hash=sha256:3\n"
    )
    lock += "d==4\n"
    assert locked(lock, ["ab-c", "d"]) == lock[lock.index("ab-c") :]
    with pytest.raises(KeyError, match="lacks e"):
        locked(lock, ["d", "e"])


def test_the_lock_has_every_package_that_is_carried():
    names = PACKAGES.read_text().split()
    assert locked(LOCK.read_text(), names).count("==") >= len(names)


def test_the_services_have_all_that_they_check_for():
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    needed = {
        re.match(r"[\w-]+", requirement)[0]
        for requirement in (*project["dependencies"], *extras["gateway"], *extras["trainer"])
    }
    assert needed - AT_HAND - set(PACKAGES.read_text().split()) == set()


def test_a_package_that_is_not_used_is_carried_without_its_libraries(tmp_path):
    wheel = tmp_path / "av-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("av/__init__.py", "")
        file.writestr("av-1.dist-info/METADATA", "Name: av")
    compress(wheel, metadata_only=True)
    with zipfile.ZipFile(wheel) as file:
        assert file.namelist() == ["av-1.dist-info/METADATA"]
        assert file.read("av-1.dist-info/METADATA") == b"Name: av"
