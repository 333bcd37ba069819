"""A live stream has the detections of the whole file, however it is cut."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.scores import FRAME_MS, DetectionConfig
from earmark.trainer.features.frontend import DELAY_FRAMES, FEATURES, FrontEnd
from earmark.trainer.features.stored import FileFeatures, file_features, signal_begins
from earmark.trainer.model import LearnedType, Model
from earmark.trainer.network import STEP, Architecture, initial_parameters
from earmark.trainer.scoring.detection import TILE, detect, tile_scores
from earmark.trainer.scoring.live import LiveStream, advance, prepare
from tests.sounds import speech

CONFIG = DetectionConfig(threshold=0.4, merge_window_ms=30, min_duration_ms=20)
SMOOTHING = 5


@pytest.fixture(scope="module")
def model():
    """A model with random weights, so that every output depends on all of its context."""
    architecture, rng = Architecture(8, width=16), np.random.default_rng(1)
    weights = jax.tree.map(
        lambda w: w + rng.normal(0, 0.2, w.shape).astype(np.float32), initial_parameters(architecture, 0)
    )
    types = (LearnedType("a"), LearnedType("b", smoothing=SMOOTHING, offset=-0.5))
    mean, deviation = rng.normal(size=FEATURES), rng.uniform(0.5, 2, FEATURES)
    return Model(architecture, types, weights, mean.astype(np.float32), deviation.astype(np.float32))


def facts(detections):
    return [(d.artifact_type, d.start_ms, d.end_ms, d.channels) for d in detections]


def streamed(model, features, begins, cuts, duration_ms):
    """What a stream gives of the features (channels, frames, features) that are cut at these frames."""
    stream = LiveStream(model, CONFIG, [False] * len(features))
    given_, frames = [], features.shape[1]
    begun = np.arange(frames)[:, None] >= np.array(begins)[None]
    for first, last in zip([0, *cuts], [*cuts, frames], strict=True):
        stream.push(features[:, first:last].swapaxes(0, 1), begun[first:last])
        advance([stream])
        given_ += (now := stream.take())
        assert all(detection.start_ms < stream.judged_ms for detection in now)
    stream.end()
    advance([stream])
    return given_ + stream.finish(duration_ms)


@settings(max_examples=30)
@given(st.integers(1, 2), st.integers(1, 3000), st.lists(st.floats(0, 1), max_size=12), st.integers(0, 3))
def test_detections_are_those_of_the_whole_however_the_features_are_cut(model, channels, frames, cuts, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(channels, frames, FEATURES)).astype(np.float16)
    begins, duration = (frames // 3, 0)[2 - channels :], frames * FRAME_MS - 3
    begins = (0,) if channels == 1 else begins
    tracks = tuple((channel,) for channel in range(channels))
    whole = detect(
        model,
        FileFeatures(features, tracks, begins, np.empty((0, *features.shape), np.float16)),
        duration,
        CONFIG,
    )
    live = streamed(model, features, begins, sorted(int(cut * frames) for cut in cuts), duration)
    assert facts(live) == facts(whole)
    np.testing.assert_allclose(
        [d.confidence for d in live], [d.confidence for d in whole], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("rate", [8_000, 44_100])
def test_detections_are_those_of_the_whole_however_the_audio_is_cut(model, rate):
    """From samples on: with a channel that begins late, one that never does, and two that are the same."""
    audio = np.stack([speech(6, 1, rate), speech(6, 2, rate), speech(6, 1, rate), np.zeros(6 * rate)])
    audio = audio.astype(np.float32)
    audio[1, : 2 * rate] = 0
    whole = detect(model, file_features(audio, rate), 6000, CONFIG)
    assert {0, 1, 2} == {channel for detection in whole for channel in detection.channels}
    assert all((0 in detection.channels) == (2 in detection.channels) for detection in whole)
    cuts = sorted(np.random.default_rng(3).integers(0, 6 * rate, 40).tolist())
    fronts = [FrontEnd(rate) for _ in audio]
    parts = [
        [front.push(part) for front, part in zip(fronts, every, strict=True)]
        for every in np.split(audio, cuts, axis=1)
    ]
    parts.append([front.push(np.empty(0, np.float32), last=True) for front in fronts])
    features = np.concatenate([np.stack(part) for part in parts], axis=1).astype(np.float16)
    begins = signal_begins(audio, [(number,) for number in range(4)], rate)
    live = streamed(
        model, features, begins, np.cumsum([part[0].shape[0] for part in parts])[:-1].tolist(), 6000
    )
    assert facts(live) == facts(whole)


def test_many_streams_are_scored_together_as_each_by_itself(model):
    rng = np.random.default_rng(0)
    every = [rng.normal(size=(1, 300 + 50 * number, FEATURES)).astype(np.float16) for number in range(20)]
    streams = [LiveStream(model, CONFIG, [False]) for _ in every]
    for stream, features in zip(streams, every, strict=True):
        stream.push(features.swapaxes(0, 1), np.ones((features.shape[1], 1), bool))
        stream.end()
    advance(streams)
    for stream, features in zip(streams, every, strict=True):
        duration = features.shape[1] * FRAME_MS
        assert facts(stream.finish(duration)) == facts(streamed(model, features, (0,), [], duration))


def test_what_is_judged_is_a_second_and_a_half_behind_and_little_is_kept(model):
    stream, rng = LiveStream(model, CONFIG, [False]), np.random.default_rng(0)
    delay = model.architecture.future + STEP + SMOOTHING
    for number in range(1, 30):
        stream.push(rng.normal(size=(100, 1, FEATURES)).astype(np.float16), np.ones((100, 1), bool))
        advance([stream])
        stream.take()
        assert stream.scored * FRAME_MS >= 1000 * number - delay * FRAME_MS
        assert stream._features.shape[1] <= model.architecture.past + delay
    assert (delay + DELAY_FRAMES) * FRAME_MS < 1700


def test_nothing_is_compiled_for_a_stream_but_what_is_prepared(model):
    prepare(model)
    compiled = tile_scores._cache_size()
    stream, rng = LiveStream(model, CONFIG, [False]), np.random.default_rng(0)
    for frames in (1, 7, 40, 200, 33, 2 * TILE, 5):
        stream.push(rng.normal(size=(frames, 1, FEATURES)).astype(np.float16), np.ones((frames, 1), bool))
        advance([stream])
    assert tile_scores._cache_size() == compiled
