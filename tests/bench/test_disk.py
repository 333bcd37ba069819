"""The disks of a drill's services."""

import os

import pytest

from bench.faults.disk import Disk, can_mount


def test_a_disk_is_full_for_as_long_as_the_drill_asks_for_whatever_others_delete(tmp_path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("the disks of a drill need the right to mount")
    with Disk(tmp_path / "disk", "trainer-0") as disk:
        kept = disk.folder / "kept"
        kept.write_bytes(bytes(1 << 20))
        with disk.filled():
            with pytest.raises(OSError, match="No space left"):
                (disk.folder / "other").write_bytes(bytes(1 << 16))
            kept.unlink()
            while os.statvfs(disk.folder).f_bavail:
                os.sched_yield()
        (disk.folder / "other").write_bytes(bytes(1 << 20))
    assert list((tmp_path / "disk").iterdir()) == []
