"""Parts of a file, read as one."""

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

Part = bytes | range  # bytes as they are, or those of the file from range.start to range.stop


class Spliced(io.RawIOBase):
    """A file to read that consists of parts of another, and of bytes. It never moves the other's position."""

    def __init__(self, descriptor: int, parts: Sequence[Part]) -> None:
        self._descriptor = descriptor
        self._parts = [part for part in parts if len(part)]
        self._starts = [0, *accumulate(len(part) for part in self._parts)]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Reads from one part at most, so fewer bytes than the buffer has. Returns how many, 0 at the end."""
        number = bisect_right(self._starts, self._position) - 1
        if number >= len(self._parts):
            return 0
        view = memoryview(buffer).cast("B")
        part, offset = self._parts[number], self._position - self._starts[number]
        count = min(len(view), len(part) - offset)
        if isinstance(part, bytes):
            data = part[offset : offset + count]
        else:
            data = os.pread(self._descriptor, count, part.start + offset)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
