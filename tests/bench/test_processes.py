import subprocess
import sys

import pytest

from bench.tools.processes import peak_bytes, peak_memory_mib, service

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["-m", "earmark.gateway"], "gateway"),
        (["-m", "earmark.trainer"], "trainer front"),
        (["-m", "earmark.trainer.workers.child", "earmark.trainer.workers.audio", "7", "1"], "trainer audio"),
        (["-m", "pip"], None),
        ([], None),
    ],
)
def test_a_service_is_recognised_by_its_command(arguments, name):
    assert service(["python", *arguments]) == name


def test_the_peak_is_read_in_bytes():
    assert peak_bytes("Name:\tpython\nVmPeak:\t  9 kB\nVmHWM:\t  12 kB\nVmRSS:\t  8 kB\n") == 12 << 10
    assert peak_bytes("Name:\tpython\nState:\tZ (zombie)\n") == 0


@linux
def test_the_peak_includes_memory_that_was_freed(tmp_path):
    (tmp_path / "earmark").mkdir()
    (tmp_path / "earmark/gateway.py").write_text("x = bytearray(64 << 20); del x; print(flush=True); input()")
    with subprocess.Popen(
        [sys.executable, "-m", "earmark.gateway"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        child.stdout.readline()
        peaks = peak_memory_mib()
        child.communicate(b"\n")
    assert peaks["gateway"] > 64
