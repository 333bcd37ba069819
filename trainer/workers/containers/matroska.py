"""WebM and Matroska (RFC 8794, RFC 9559): elements, with their sizes in front except in live streams."""

from typing import BinaryIO

from earmark.trainer.workers.containers.errors import DAMAGED, UnusableAudioError, cut_short

EBML, SEGMENT, CLUSTER, VOID, CRC = 0x1A45DFA3, 0x18538067, 0x1F43B675, 0xEC, 0xBF
# The elements directly in a segment and in a cluster.
IN_SEGMENT = frozenset(
    {0x114D9B74, 0x1549A966, 0x1654AE6B, CLUSTER, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367, VOID, CRC}
)
IN_CLUSTER = frozenset({0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF, VOID, CRC})
PARENTS = frozenset({SEGMENT, CLUSTER})
MAX_NUMBER_BYTES = 8
KNOWN = IN_SEGMENT | IN_CLUSTER | {EBML, SEGMENT}


def check_elements(file: BinaryIO, size: int) -> None:
    """Raises UnusableAudioError if an element is incomplete, or if bytes belong to none."""
    position, end = 0, size
    while position < end:
        file.seek(position)
        head = file.read(12)
        name, name_bytes = _number(head, keeps_marker=True)
        length, length_bytes = _number(head[name_bytes:], keeps_marker=False)
        if name not in KNOWN:
            raise UnusableAudioError(DAMAGED)
        position += name_bytes + length_bytes
        is_unknown = length == (1 << 7 * length_bytes) - 1
        if name == SEGMENT and not is_unknown:
            end = position + length
        if name not in PARENTS:
            position += length
        if position > size:
            raise _missing(position - size)
    if end > size:
        raise _missing(end - size)


def _missing(count: int) -> UnusableAudioError:
    return cut_short(f"it ends {count:,} bytes before the end of its last part")


def _number(data: bytes, *, keeps_marker: bool) -> tuple[int, int]:
    """A number of variable length, and how many bytes it has: one more than its first has zeros in front."""
    count = 9 - data[0].bit_length() if data else 0
    if count > MAX_NUMBER_BYTES:
        raise UnusableAudioError(DAMAGED)
    if count > len(data) or not data:
        raise cut_short("it ends in the middle of an element")
    value = int.from_bytes(data[:count])
    return (value if keeps_marker else value & ~(1 << 7 * count)), count
