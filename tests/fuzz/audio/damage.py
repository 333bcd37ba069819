"""What is done to audio files: wrong bytes, headers that lie, and files that are more than they seem."""

import random
import re
from collections.abc import Callable

from tests.fuzz.audio.formats import silence
from tests.fuzz.audio.ogg import with_checksums
from tests.fuzz.damage import flipped, spliced

HEADER_BYTES = 128
# What comes before a length or before facts about the audio, in any of the containers.
MARKS = (b"RIFF", b"fmt ", b"data", b"fact", b"LIST", b"ds64", b"fLaC", b"OggS", b"vorbis", b"OpusHead")
MARKS += (b"Xing", b"Info", b"ID3", b"FORM", b"COMM", b"SSND", b"caff", b"desc", b"pakt", b"kuki", b".snd")
MARKS += (b"ftyp", b"moov", b"mdhd", b"stsd", b"stts", b"stsc", b"stsz", b"stco", b"mdat", b"\x1aE\xdf\xa3")
VALUES = (0, 1, 2, 3, 7, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 44_101, 1 << 20, (1 << 31) - 1, 1 << 31)
VALUES += ((1 << 32) - 1, (1 << 32) - 9, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
STREAMINFO = slice(18, 26)  # of a FLAC file: rate, channels, bits, total
TOTAL_BITS = 36
BOMBS = (  # container, rate, channels, samples
    ("FLAC", 48_000, 1, 2_000_000),
    ("FLAC", 8_000, 8, 1_000_000),
    ("FLAC", 16_000, 2, 9_000_000),
    ("FLAC", 48_000, 8, 3_000_000),
    ("OGG", 8_000, 1, 3_000_000),
    ("MP3", 48_000, 2, 2_000_000),
)

Damage = Callable[[bytes, random.Random], bytes]


def header_flipped(data: bytes, rng: random.Random) -> bytes:
    """With some bits of the header flipped."""
    return flipped(data[:HEADER_BYTES], rng) + data[HEADER_BYTES:]


def truncated(data: bytes, rng: random.Random) -> bytes:
    """Cut somewhere, often within the header."""
    return data[: rng.choice((rng.randrange(len(data) + 1), rng.randrange(HEADER_BYTES)))]


def cut_out(data: bytes, rng: random.Random) -> bytes:
    """Without some bytes."""
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 2, 100, 5_000)) :]


def lying(data: bytes, rng: random.Random) -> bytes:
    """With another number somewhere in the header, or behind a mark."""
    at, size = rng.randrange(HEADER_BYTES), rng.choice((1, 2, 3, 4, 4, 8))
    if (marks := [mark for mark in MARKS if mark in data]) and rng.random() < 0.7:
        mark = rng.choice(marks)
        at = data.index(mark) + len(mark) + rng.choice((0, 0, 4, 6, 8, 10, 12, 16, 20))
    value = rng.choice(VALUES) % (1 << 8 * size)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def lying_about_flac(data: bytes, rng: random.Random) -> bytes:
    """With another rate, number of channels, resolution or length in the STREAMINFO of FLAC."""
    info = int.from_bytes(data[STREAMINFO])
    low, bits = rng.choice(((0, TOTAL_BITS), (TOTAL_BITS, 5), (TOTAL_BITS + 5, 3), (TOTAL_BITS + 8, 20)))
    value = rng.choice((*VALUES, rng.getrandbits(bits))) % (1 << bits)
    info = info & ~(((1 << bits) - 1) << low) | value << low
    return data[: STREAMINFO.start] + info.to_bytes(8) + data[STREAMINFO.stop :]


def lying_in_ogg(data: bytes, rng: random.Random) -> bytes:
    """With a damage in OGG that its checksums do not show."""
    return with_checksums(rng.choice((lying, flipped, header_flipped, page_lying, cut_out))(data, rng))


def page_lying(data: bytes, rng: random.Random) -> bytes:
    """With another position, serial number or number in the header of one page of OGG."""
    starts = [found.start() for found in re.finditer(b"OggS", data)]
    at, (offset, size) = (
        rng.choice(starts or [0]),
        rng.choice(((4, 1), (5, 1), (6, 8), (14, 4), (18, 4), (26, 1))),
    )
    value = rng.choice(VALUES) % (1 << 8 * size)
    return data[: at + offset] + value.to_bytes(size, "little") + data[at + offset + size :]


def chunk_put_in(data: bytes, rng: random.Random) -> bytes:
    """With another chunk of RIFF or IFF, of an odd, a wrong or a huge length."""
    size, order = rng.choice((0, 1, 7, 4_001)), rng.choice(("little", "big"))
    length = rng.choice((size, size + 1, *VALUES)) % (1 << 32)
    name = rng.choice((b"LIST", b"junk", b"fmt ", b"data", b"fact", b"ID3 ", rng.randbytes(4)))
    chunk = name + length.to_bytes(4, order) + rng.randbytes(size)
    return data[:12] + chunk * rng.choice((1, 1, 3_000)) + data[12:]


def tagged(data: bytes, rng: random.Random) -> bytes:
    """With an ID3 tag in front, whose length may be wrong."""
    size = rng.choice((0, 10, 2_000))
    length = rng.choice((size, size, *VALUES)) % (1 << 28)
    digits = bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + digits + rng.randbytes(size) + data


def metadata_put_in(data: bytes, rng: random.Random) -> bytes:
    """With more metadata blocks in FLAC, of right and wrong lengths."""
    size = rng.choice((0, 18, 500))
    length = rng.choice((size, size, size + 1, (1 << 24) - 1))
    block = bytes([rng.choice((0, 1, 3, 4, 5, 6, 126, 0x80))]) + length.to_bytes(3) + rng.randbytes(size)
    return data[:42] + block * rng.choice((1, 1, 5_000)) + data[42:]


def garbage(data: bytes, rng: random.Random) -> bytes:
    """Garbage behind the right magic."""
    fill = rng.choice((bytes, lambda size: b"\xff" * size, rng.randbytes))
    return data[: rng.choice((0, 4, 12, 44, 100))] + fill(rng.choice((0, 1, 100, 5_000, 200_000)))


def joined(data: bytes, rng: random.Random) -> bytes:
    """With the same again, or another file, or zeros behind it."""
    other = silence("FLAC", 8_000, 1, 10_000)
    return data + rng.choice((data, data[len(data) // 2 :], other, bytes(70_000), data * 5))


def bomb(_: bytes, rng: random.Random) -> bytes:
    """Small, and long to decode, at times with another length in the header."""
    container, *shape = rng.choice(BOMBS)
    data = silence(container, *shape)
    return lying_about_flac(data, rng) if container == "FLAC" and rng.random() < 0.5 else data


def untouched(data: bytes, _: random.Random) -> bytes:
    """As it is."""
    return data


# With the weights of a choice.
DAMAGES: dict[Damage, int] = {
    untouched: 12,
    flipped: 10,
    header_flipped: 10,
    truncated: 8,
    cut_out: 5,
    spliced: 5,
    lying: 20,
    lying_about_flac: 6,
    lying_in_ogg: 10,
    chunk_put_in: 5,
    tagged: 4,
    metadata_put_in: 4,
    garbage: 6,
    joined: 5,
    bomb: 1,
}
