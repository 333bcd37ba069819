"""The prerequisites of a training job."""

from uuid import uuid4

from hypothesis import given
from hypothesis import strategies as st

from earmark.gateway.rules.prerequisites import MINIMUM_AUDIO_MS, violations
from earmark.storage.queries.training import AudioFacts, JobFacts

DATASET, SET = uuid4(), uuid4()
TYPES = ["glitch", "dropout", "echo"]
STATUSES = ["pending", "normalizing", "embedding", "ready", "failed"]


def facts(**changes) -> JobFacts:
    valid = {
        "set_dataset_id": DATASET,
        "set_version": 2,
        "set_status": "published",
        "annotations_by_type": dict.fromkeys(TYPES, 1),
        "types": TYPES,
        "audio": [AudioFacts("ready", 3, MINIMUM_AUDIO_MS, ["a", "b", "c"])],
    }
    return JobFacts(**(valid | changes))


def violated(facts: JobFacts, types=TYPES) -> set[str]:
    return {v.type for v in violations(DATASET, SET, types, facts)}


def test_no_violation_if_every_prerequisite_is_met() -> None:
    assert violations(DATASET, SET, TYPES, facts()) == []


def test_five_minutes_are_enough_and_a_millisecond_less_is_not() -> None:
    short = facts(audio=[AudioFacts("ready", 3, MINIMUM_AUDIO_MS - 1, ["a"])])
    assert violated(short) == {"AUDIO_DURATION"}
    assert violated(facts()) == set()


def test_each_violation_describes_what_was_found_and_what_to_do() -> None:
    job_facts = facts(
        set_dataset_id=uuid4(),
        set_status="draft",
        annotations_by_type={"glitch": 4},
        audio=[
            AudioFacts("failed", 1, 0, ["f1"]),
            AudioFacts("pending", 7, 0, ["p1", "p2", "p3", "p4", "p5"]),
            AudioFacts("ready", 2, 90_000, ["r1", "r2"]),
        ],
    )
    descriptions = {
        v.type: v.description for v in violations(DATASET, SET, ["glitch", "dropout", "hum"], job_facts)
    }
    assert descriptions.keys() == {
        "SAME_DATASET",
        "ANNOTATION_SET_PUBLISHED",
        "TYPES_DEFINED",
        "AUDIO_READY",
        "AUDIO_DURATION",
        "ANNOTATIONS_PER_TYPE",
    }
    assert str(SET) in descriptions["ANNOTATION_SET_PUBLISHED"]
    assert "version 2) is a draft: publish it first" in descriptions["ANNOTATION_SET_PUBLISHED"]
    assert (
        "8 of 10 audio files are not ready: 1 failed (f1); 7 pending (p1, p2, p3, p4, p5, …)"
        in descriptions["AUDIO_READY"]
    )
    assert (
        "1.5 minutes of ready audio, at least 5 are needed: add 3.5 minutes" in descriptions["AUDIO_DURATION"]
    )
    assert "no annotation of dropout, hum" in descriptions["ANNOTATIONS_PER_TYPE"]
    assert "does not define hum (it defines: glitch, dropout, echo)" in descriptions["TYPES_DEFINED"]


@given(
    status=st.sampled_from(["draft", "published"]),
    audio=st.dictionaries(st.sampled_from(STATUSES), st.integers(1, 10**6), max_size=5),
    annotated=st.sets(st.sampled_from(TYPES)),
    chosen=st.sets(st.sampled_from([*TYPES, "hum"]), min_size=1),
)
def test_a_job_may_be_created_exactly_if_every_prerequisite_is_met(status, audio, annotated, chosen) -> None:
    job_facts = facts(
        set_status=status,
        annotations_by_type=dict.fromkeys(annotated, 1),
        audio=[AudioFacts(s, 1, ms if s == "ready" else 0, ["x"]) for s, ms in audio.items()],
    )
    expected = {
        "ANNOTATION_SET_PUBLISHED": status != "published",
        "TYPES_DEFINED": not chosen <= set(TYPES),
        "AUDIO_READY": bool(audio.keys() - {"ready"}),
        "AUDIO_DURATION": audio.get("ready", 0) < MINIMUM_AUDIO_MS,
        "ANNOTATIONS_PER_TYPE": not chosen <= annotated,
    }
    assert violated(job_facts, sorted(chosen)) == {name for name, broken in expected.items() if broken}
