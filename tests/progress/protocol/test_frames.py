"""Every frame that the server sends, and what it refuses to make one of."""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from jobs.states import EXTRAS, EventKind
from progress.protocol.commands import (
    invalid,
)
from progress.protocol.frames import (
    Frame,
    encode,
    error,
    event_frame,
    event_text,
    feed,
    feed_entry,
    job_about,
    job_state,
    snapshot,
    timestamp,
)
from progress.protocol.position import Position
from tests.progress.frames import a_job, built, event

ROOT = Path(__file__).parents[3]
VECTORS = json.loads((ROOT / "tests" / "vectors" / "frames.json").read_text())


# Frames


def test_frames__only_those_of_progress_have_a_job_id():
    assert {kind for kind, frame in built().items() if "job_id" in frame} == {"progress", "snapshot"}


def test_frames__vectors_have_the_builders_fields():
    frames = [frame for case in VECTORS for frame in case["frames"]]
    own = [frame for frame in frames if frame["type"] in built()]
    complete = [frame for frame in own if set(built()[frame["type"]]) <= set(frame)]
    assert {frame["type"] for frame in complete} >= {"progress", "snapshot", "log", "feed"}
    assert all(list(case["fresh"]) for case in VECTORS if "fresh" in case)
    assert {frozenset(case["fresh"]) for case in VECTORS if "fresh" in case} == {frozenset(built()["snapshot"])}


def test_event_text__indeterminate_progress_is_null():
    assert json.loads(event_text(event(progress=None)))["progress"] is None


def test_event_text__keeps_what_users_write():
    words = 'naïve 🎉 </script> \u2028 "quoted" \\ \x01 日本'
    assert json.loads(event_text(event(message=words)))["message"] == words


def test_event_text__output_says_where_it_is_cut():
    whole = event(EventKind.OUTPUT)
    assert "cut" not in json.loads(event_text(whole))
    cut = event(EventKind.OUTPUT, metadata={**whole.metadata, "cut": True})
    assert json.loads(event_text(cut)) == {**json.loads(event_text(whole)), "cut": True}


def test_event_frame__is_a_tick_only_for_ticks_and_shows_the_job_except_for_extras():
    frames = {kind: event_frame("job-1", 1, kind, "{}") for kind in EventKind}
    assert {kind for kind, frame in frames.items() if frame.is_tick} == {EventKind.TICK}
    assert {kind for kind, frame in frames.items() if not frame.state_of} == EXTRAS
    assert {kind for kind, frame in frames.items() if frame.extra} == EXTRAS


def test_encode__refuses_what_is_not_json():
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode({"progress": float("nan")})


@pytest.mark.parametrize("text", ["\ud800", "é\ud800"])
def test_encode__refuses_half_of_a_surrogate_pair(text):
    with pytest.raises(ValueError, match="surrogate"):
        encode({"message": text})


BAD = [
    *({"metadata": bad} for bad in ([], "text", 5, None)),
    *({"progress": bad} for bad in (-5, 100.01, float("inf"), float("nan"))),
    {"status": "weird"},
    {"metadata": {"current": float("inf")}},
    {"metadata": {"stage": "\ud800"}},
]


@pytest.mark.parametrize("bad", BAD, ids=repr)
def test_frames__of_what_is_out_of_bounds_are_not_made(bad):
    job = a_job()
    for name, value in bad.items():
        setattr(job, name, value)
    with pytest.raises(ValueError, match=r".+"):
        encode(feed_entry(job))
    with pytest.raises(ValueError, match=r".+"):
        snapshot(job_state(job), about={"name": ""}, position=Position("e1", 1), recovered=False)
    with pytest.raises(ValueError, match=r".+"):
        event_text(event(**bad))


def test_timestamp__is_utc_with_a_z():
    east = datetime(2026, 1, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(east) == "2026-01-01T00:00:00.000000Z"


def test_feed_entry__leaves_the_result_out_unless_asked():
    job = a_job()
    job.metadata = {"attempt": 1, "result": {"rows": 40}, "stage": "Load"}
    whole = feed_entry(job, with_result=True)
    assert whole["metadata"] == job.metadata
    assert feed_entry(job) == {**whole, "metadata": {"attempt": 1, "stage": "Load"}}
    assert job.metadata["result"] == {"rows": 40}


def test_feed__says_where_it_was_cut_and_nothing_elsewhere():
    assert json.loads(feed("all", ["{}"], cut=True).text) == {
        "type": "feed",
        "subject": "all",
        "jobs": [{}],
        "cut": True,
    }
    assert "cut" not in json.loads(feed("all", ["{}"]).text)


def test_error__subject_only_where_there_is_one():
    assert "subject" not in json.loads(error(invalid("No.")).text)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"name": "Import"}),
        ({"kind": "resize", "size": 9.0}, {"name": "Import", "kind": "resize"}),
        ({"parent_id": "import-42"}, {"name": "Import", "parent": "import-42"}),
        ({"plan": [["download", 1], ["resize", 2.5]]}, {"name": "Import", "plan": [["download", 1], ["resize", 2.5]]}),
    ],
)
def test_about__holds_kind_plan_and_parent_where_there_are_any(fields, expected):
    job = a_job()
    for name, value in fields.items():
        setattr(job, name, value)
    assert job_about(job) == expected
    assert feed_entry(job).get("kind") == fields.get("kind")
    assert feed_entry(job).get("parent") == fields.get("parent_id")


USUAL = {"runs": 12, "seconds": [220, 245.5, 270], "curve": [3, 6], "scaled": True}


def test_about_and_entry__tell_when_it_began_and_what_is_usual():
    job = a_job()
    job.started_at, job.usual = datetime(2026, 1, 1, tzinfo=UTC), USUAL
    expected = {"started_at": "2026-01-01T00:00:00.000000Z", "usual": USUAL}
    assert job_about(job) == {"name": "Import", **expected}
    assert expected.items() <= feed_entry(job).items()


NOT_USUAL = [
    *(5, "a", [], {}, {"runs": 1}),
    {"runs": "a", "seconds": [1]},
    {"runs": 1, "seconds": [1, 2]},
    {"runs": 1, "seconds": ["a"]},
    {"runs": 1, "seconds": [float("inf")]},
    {"runs": 1, "seconds": [1], "curve": 5},
]


@pytest.mark.parametrize("usual", NOT_USUAL, ids=repr)
def test_about_and_entry__of_what_is_not_usual_are_not_made(usual):
    job = a_job()
    job.usual = usual
    for make in (job_about, feed_entry):
        with pytest.raises(ValueError, match="is not what runs took"):
            make(job)


@pytest.mark.parametrize(
    "plan", [None, 5, "a", {"a": 1}, ["a"], [["a"]], [["a", 0]], [["a", float("inf")]], [[1, 1]], [["\ud800", 1]]]
)
def test_about__of_what_is_no_plan_is_not_made(plan):
    job = a_job()
    job.plan = plan
    with pytest.raises(ValueError, match="is not a plan"):
        job_about(job)


def test_about__and_an_entry_hold_how_long_a_job_of_its_kind_may_say_nothing(settings):
    settings.JOBS_KINDS = {"resize*": {"max_silence": 60}}
    job = a_job()
    assert "max_silence" not in job_about(job) | feed_entry(job)
    job.kind = "resize.large"
    assert (job_about(job)["max_silence"], feed_entry(job)["max_silence"]) == (60, 60)


def test_snapshot__position_overrides_the_state():
    frame = snapshot(job_state(a_job()), about={"name": ""}, position=Position("e2", 9), recovered=True)
    shown = json.loads(frame.text)
    assert (shown["epoch"], shown["seq"], shown["recovered"], frame.seq) == ("e2", 9, True, 9)


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536, 70_000])
def test_frame__text_is_what_the_frame_carries(length):
    frame = Frame("é" + "x" * (length - 2) if length else "")
    assert len(frame.payload) == length
    assert frame.text.encode() == frame.payload
