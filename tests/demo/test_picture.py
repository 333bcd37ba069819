import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from demo.picture import HEIGHT, WIDTH, Detection, draw
from demo.placing import Annotation

RATE = 16_000
TRUTH = (0x00, 0x72, 0xB2)
DETECTED = (0xE6, 0x9F, 0x00)


def noise(seconds: float) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(int(seconds * RATE)).astype(np.float32) * 0.1


def colored(path, color) -> np.ndarray:
    """Return whether each pixel below the legend has exactly this colour: bool (rows, columns)."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB"))
    mask = (pixels == color).all(axis=2)
    mask[:80] = False
    return mask


def test_the_picture_is_a_png_of_1600_by_900(tmp_path):
    path = tmp_path / "picture.png"
    draw(
        path, noise(20), RATE, [Annotation("glitch", 500, 580)], [Detection("glitch", 490, 600, 0.9)], "Noise"
    )
    with Image.open(path) as image:
        image.verify()
        assert image.format == "PNG"
        assert image.size == (WIDTH, HEIGHT) == (1600, 900)
    assert path.stat().st_size < 400_000  # noise is the hardest audio to compress


def test_bars_are_at_the_times_of_the_events(tmp_path):
    path = tmp_path / "picture.png"
    truth = [Annotation("static", 5_000, 10_000)]
    detections = [Detection("static", 5_500, 9_000, 0.8), Detection("echo", 15_000, 16_000, 0.6)]
    draw(path, noise(20), RATE, truth, detections, "Bars")
    left, right = 0.085 * WIDTH, 0.975 * WIDTH
    columns = np.flatnonzero(colored(path, TRUTH).any(axis=0))
    at = (columns[[0, -1]] - left) / (right - left) * 20
    assert at == pytest.approx([5, 10], abs=0.05)
    columns = np.flatnonzero(colored(path, DETECTED).any(axis=0))
    at = (columns[[0, -1]] - left) / (right - left) * 20
    assert at == pytest.approx([5.5, 16], abs=0.05)
    rows = {
        name: np.flatnonzero(colored(path, color).any(axis=1))
        for name, color in [("t", TRUTH), ("d", DETECTED)]
    }
    assert not set(rows["t"]) & set(rows["d"])  # truth and detections have separate rows


def test_a_very_short_bar_is_still_visible(tmp_path):
    path = tmp_path / "picture.png"
    draw(path, noise(120), RATE, [Annotation("glitch", 60_000, 60_050)], [], "A glitch in two minutes")
    assert colored(path, TRUTH).any(axis=0).sum() >= 3


def test_the_same_input_gives_the_same_file(tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    for path in (first, second):
        draw(path, noise(5), RATE, [Annotation("static", 100, 900)], [], "Twice")
    assert first.read_bytes() == second.read_bytes()


events = st.lists(
    st.tuples(
        st.sampled_from(["glitch", "long_pause", "echo"]), st.integers(0, 9_000), st.integers(1, 1_000)
    ),
    max_size=12,
)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seconds=st.sampled_from([0.001, 0.5, 10.0]),
    truth=events,
    found=events,
    rate=st.sampled_from([8_000, 48_000]),
)
def test_any_events_can_be_drawn(tmp_path, seconds, truth, found, rate):
    path = tmp_path / "any.png"
    audio = np.zeros(int(seconds * rate), np.float32)
    annotations = [Annotation(name, start, start + length) for name, start, length in truth]
    detections = [Detection(name, start, start + length, 0.5) for name, start, length in found]
    draw(path, audio, rate, annotations, detections, "Anything " * 20)
    with Image.open(path) as image:
        assert image.size == (WIDTH, HEIGHT)


def test_audio_that_cannot_be_drawn_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"shape \(0,\)"):
        draw(tmp_path / "none.png", np.zeros(0, np.float32), RATE, [], [], "Nothing")
