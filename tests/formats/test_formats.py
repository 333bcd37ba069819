"""docs/formats.md is right: what it says of each format is measured with clips that encoders make here."""

import asyncio

import pytest

from tests.formats.clips import FORMATS
from tests.formats.table import measure, table, table_of_page

LOSSY_MS = 1.0
FINE = ("24 bit", "32 bit", "64 bit")


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    return asyncio.run(measure(tmp_path_factory.mktemp("formats")))


def test_the_table_of_the_page_is_what_is_measured(measured):
    assert table_of_page() == table(measured), "run python -m tests.formats"


def test_lossless_formats_are_exact(measured):
    for each in measured:
        if each.format.is_lossless:
            assert (each.excess, each.shift, each.error_ms) == (0, 0, 0), each
            assert each.difference <= (2**-23 if each.format.codec.endswith(FINE) else 2**-15), each


def test_formats_that_say_where_their_audio_is_keep_its_length_and_its_times(measured):
    for each in measured:
        if each.format.is_exact and not each.format.is_lossless:
            assert abs(each.excess) <= LOSSY_MS * each.format.rate / 1000, each
            assert abs(each.shift) <= LOSSY_MS * each.format.rate / 1000, each
            assert abs(each.error_ms) <= 2, each


def test_other_formats_are_late_by_their_encoders_delay_and_lose_nothing(measured):
    for each in measured:
        if not each.format.is_exact:
            assert -0.002 * each.format.rate <= each.excess <= 0.1 * each.format.rate, each
            assert -0.002 * each.format.rate <= each.shift <= 0.05 * each.format.rate, each
            assert abs(each.error_ms - 1000 * each.shift / each.format.rate) <= 5, each


def test_every_format_is_in_the_table():
    assert len({(each.container, each.codec) for each in FORMATS}) == len(FORMATS)
