"""Which events count as examples in which track, and when two channels have one artifact."""

import numpy as np
import pytest

from earmark.scores import across_channels
from earmark.trainer.data.channels import Unknown, events_of_track
from earmark.trainer.data.loading import Dataset
from earmark.trainer.features.frontend import FEATURES
from earmark.trainer.features.stored import FileFeatures
from earmark.trainer.job import TrainingFile
from earmark.trainer.regions import Region, RegionEvent

# The first channel has no signal, and the last two are the same.
CHANNELS = ((1,), (2, 3))
HERE, THERE, SOMEWHERE, NOWHERE = (RegionEvent("x", 100, 300, 1.0, channel) for channel in (1, 3, None, 0))
REGION = Region(0, 0, 100, (HERE, THERE, SOMEWHERE, NOWHERE))


def features(tracks=2):
    values = np.zeros((tracks, 100, FEATURES), np.float16)
    return FileFeatures(values, CHANNELS[:tracks], (0,) * tracks, np.empty((0, *values.shape), np.float16))


def unknown():
    dataset = Dataset((TrainingFile("one", "", "", 1000, ()),), (features(),))
    return dataset, Unknown.among(dataset, [REGION])


def test_an_event_is_an_example_in_its_channel_alone():
    assert events_of_track(REGION, features(), 0, {}) == [HERE, SOMEWHERE]
    assert events_of_track(REGION, features(), 1, {}) == [THERE, SOMEWHERE]


def test_an_event_without_a_channel_counts_in_each_track_by_its_share():
    dataset, events = unknown()
    scores = [np.full((100, 1), level, np.float32) for level in (0.8, 0.4)]
    shares = events.learnt(dataset, ("x",), lambda tracks: scores[: len(tracks)])
    np.testing.assert_allclose(shares, [[1, 0.25]], rtol=1e-6)
    by_region = events.by_region(shares)[REGION.file, REGION.start]
    confidences = [events_of_track(REGION, features(), track, by_region)[-1].confidence for track in (0, 1)]
    assert confidences == pytest.approx([1, 0.25])
    np.testing.assert_array_equal(events.all_tracks(), [[1, 1]])


def test_a_file_with_one_track_has_no_unknown_events():
    dataset = Dataset((TrainingFile("one", "", "", 1000, ()),), (features(1),))
    assert Unknown.among(dataset, [REGION]).all_tracks().shape == (0, 1)


def test_spans_of_two_channels_are_one_artifact_if_they_share_half_of_their_time():
    one, other = np.array([(0, 100), (500, 600)]), np.array([(33, 133), (551, 651)])
    assert across_channels([one, other]).tolist() == [[0, 133], [500, 600], [551, 651]]
    assert across_channels([one, one]).tolist() == one.tolist()
    assert across_channels([one]).tolist() == one.tolist()
