from earmark.trainer.data.blocks import with_gap
from earmark.trainer.job import Annotation, TrainingFile
from earmark.trainer.regions import Region

# Events that all overlap the next, so many that none may be compared with each of the others; and one apart.
CHAIN = [Annotation("echo", 10 * number, 10 * number + 30) for number in range(100_000)]
FILE = TrainingFile("a", "a", "features", 2_000_000, (*CHAIN, Annotation("echo", 1_000_100, 1_000_200)))


def bounds(train: Region, held_out: Region, gap: int) -> list[tuple[int, int]]:
    return [(region.start, region.end) for region in with_gap([FILE], [train], [held_out], gap, {"echo"})]


def test_a_region_that_is_too_near_to_validation_audio_ends_before_the_next_event():
    assert bounds(Region(0, 100_002, 150_000), Region(0, 150_000, 200_000), 49_985) == [(100_002, 100_010)]


def test_a_region_vanishes_if_every_shorter_one_would_cut_an_event():
    assert bounds(Region(0, 0, 100_002), Region(0, 100_002, 200_000), 10) == []
