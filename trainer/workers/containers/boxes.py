"""MP4, M4A, MOV and 3GP (ISO 14496-12): boxes, each with its size in front."""

from typing import BinaryIO

from earmark.trainer.workers.containers.errors import cut_short

TOP_BOXES = frozenset(
    b"ftyp moov mdat free skip wide moof mfra sidx ssix styp uuid meta pdin emsg prft pnot udta".split()
)
LONG_SIZE, TO_THE_END = 1, 0  # in place of a size: it follows the name in 64 bits; there is none


def check_boxes(file: BinaryIO, size: int) -> None:
    """Raises UnusableAudioError if a box is incomplete or if there is none that describes the audio."""
    position, names = 0, set()
    while position + 8 <= size:
        file.seek(position)
        length, name = int.from_bytes(file.read(4)), file.read(4)
        if name not in TOP_BOXES:  # a tag of another kind, at the end
            break
        names.add(name)
        if length == LONG_SIZE:
            length = int.from_bytes(file.read(8))
        if length == TO_THE_END:
            break
        position += max(8, length)
    if position > size:
        raise cut_short(f"it ends {position - size:,} bytes before the end of its last part")
    if b"moov" not in names:
        raise cut_short("it has no list of its contents (moov), which many recorders write last")
