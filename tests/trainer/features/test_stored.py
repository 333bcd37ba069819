import numpy as np
import pytest

from earmark.trainer.features import stored
from earmark.trainer.features.frontend import FEATURES, features
from earmark.trainer.features.stored import (
    FileFeatures,
    OutdatedFeaturesError,
    file_features,
    pack_features,
    same_channels,
    signal_begins,
    unpack_features,
    write_features,
)
from earmark.trainer.features.version import FRONTEND_VERSION
from earmark.trainer.workers.views import VIEWS
from tests.sounds import RATE, speech


def test_packed_features_can_be_unpacked_and_other_bytes_are_refused():
    values = file_features(np.stack([speech(1, seed=7), speech(1, seed=8)]), RATE, views=VIEWS)
    again = unpack_features(pack_features(values))
    assert again.channels == values.channels == ((0,), (1,))
    assert again.begins == values.begins == (0, 0)
    np.testing.assert_array_equal(again.tracks, values.tracks)
    np.testing.assert_array_equal(again.views, values.views)
    for data in (b"\x08\0\0\0\0\0\0\0nonsense", b"", pack_features(values)[:-1]):
        with pytest.raises(ValueError, match="not stored features"):
            unpack_features(data)


@pytest.mark.parametrize("views", [(), VIEWS], ids=["no view", "a view"])
def test_written_features_are_those_that_are_packed(tmp_path, views):
    audio = np.stack([speech(2.5, seed=7), np.zeros(2 * RATE + RATE // 2, np.float32), speech(2.5, seed=8)])
    with (tmp_path / "features").open("w+b") as file:
        write_features(file, audio, RATE, views=views)
    written, packed = (
        unpack_features(data)
        for data in (
            (tmp_path / "features").read_bytes(),
            pack_features(file_features(audio, RATE, views=views)),
        )
    )
    assert written.channels == packed.channels == ((0,), (2,))
    assert written.begins == packed.begins == (0, 0)
    np.testing.assert_array_equal(written.tracks, packed.tracks)
    np.testing.assert_array_equal(written.views, packed.views)


def test_features_of_another_version_are_refused(monkeypatch):
    monkeypatch.setattr(stored, "FRONTEND_VERSION", "0")
    old = pack_features(FileFeatures.of_mono(np.zeros((3, FEATURES), np.float16)))
    monkeypatch.undo()
    with pytest.raises(OutdatedFeaturesError, match=f"front end 0, this trainer has {FRONTEND_VERSION}"):
        unpack_features(old)


def test_channels_that_are_the_same_are_worked_once_and_one_without_a_signal_never():
    one, other = speech(1, seed=1), speech(1, seed=2)
    silent, steady = np.zeros_like(one), np.full_like(one, 0.25)
    assert same_channels(np.stack([one])) == ((0,),)
    assert same_channels(np.stack([one, silent])) == ((0,),)
    assert same_channels(np.stack([steady, one, other, one])) == ((1, 3), (2,))
    assert same_channels(np.stack([one, -one])) == ((0,), (1,))
    assert same_channels(np.stack([silent, silent])) == ((0, 1),)
    values = file_features(np.stack([silent, one, one]), RATE, views=())
    np.testing.assert_array_equal(values.tracks, features(one, RATE)[None])
    assert values.channels == ((1, 2),)


def test_channels_are_compared_to_their_last_sample(monkeypatch):
    monkeypatch.setattr(stored, "COMPARED_SAMPLES", 1000)
    one = speech(1, seed=1)
    other = one.copy()
    other[-1] += 0.5
    late = np.zeros_like(one)
    late[-1] = 0.5
    assert same_channels(np.stack([one, other, late])) == ((0,), (1,), (2,))


def test_a_track_counts_from_the_frame_in_which_its_signal_begins_on():
    """A lone channel counts from its start, and one that stays silent among others never."""
    one, frames = speech(1, seed=1), 100
    late, muted = one.copy(), np.full_like(one, 0.25)
    late[: RATE // 2 + 1] = late[0]
    both = np.stack([one, late])
    begins = {"both": file_features(both, RATE).begins, "one": file_features(late[None], RATE).begins}
    assert begins == {"both": (0, 50), "one": (0,)}
    assert file_features(np.stack([muted, muted]), RATE).begins == (frames,)
    assert signal_begins(both, ((1,), (0,)), RATE) == (50, 0)
