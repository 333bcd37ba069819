"""Writes build/earmark-protos.tar.gz, for clients in any language: `make proto-archive`.

Its one folder, earmark-protos, is the only include root that a compiler needs. It has the public API and the
files of others that the API and its errors use; google/protobuf comes with every compiler.
"""

import gzip
import tarfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
# Also installed with the package, where `earmark protos` finds it.
PUBLIC = ROOT / "client" / "earmark" / "protos"
TARGET = ROOT / "build" / "earmark-protos.tar.gz"


def write(target: Path) -> None:
    """Packs PUBLIC into `target`, with the files that its links name. The same files give the same bytes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        gzip.GzipFile(target, "wb", mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", dereference=True) as archive,
    ):
        archive.add(PUBLIC, "earmark-protos", filter=anonymous)


def anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    """Removes from the entry what depends on the checkout: its owner, its time and its exact mode."""
    entry.uid = entry.gid = entry.mtime = 0
    entry.uname = entry.gname = ""
    entry.mode = 0o755 if entry.isdir() else 0o644
    return entry


if __name__ == "__main__":
    write(TARGET)
