"""WMA (ASF): the size that its header announces."""

from typing import BinaryIO

from earmark.trainer.workers.containers.errors import cut_short

HEADER_BYTES = 1 << 16
FILE_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
SIZE_AT, FLAGS_AT = 40, 88
BROADCAST = 1  # a flag: the sizes are not valid


def check_asf(file: BinaryIO, size: int) -> None:
    """Raises UnusableAudioError if the file is shorter than its header announces."""
    file.seek(0)
    head = file.read(HEADER_BYTES)
    at = head.find(FILE_PROPERTIES)
    if at < 0 or len(head) < at + FLAGS_AT + 4 or head[at + FLAGS_AT] & BROADCAST:
        return
    announced = int.from_bytes(head[at + SIZE_AT : at + SIZE_AT + 8], "little")
    if size < announced:
        raise cut_short(f"its header announces {announced:,} bytes, {size:,} are there")
