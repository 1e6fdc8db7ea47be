"""The wire protocol, and the golden vectors against it."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from jobs.states import EventKind
from progress.conf import Conf
from progress.protocol.codes import ErrorCode
from progress.protocol.commands import (
    MAX_JOBS,
    Auth,
    Ping,
    Subscribe,
    SubscribeFeed,
    SubscribeMany,
    Unsubscribe,
    UnsubscribeMany,
    invalid,
    parse,
)
from progress.protocol.exceptions import Refused
from progress.protocol.frames import (
    Frame,
    encode,
    error,
    event_frame,
    event_text,
    feed,
    feed_entry,
    job_state,
    snapshot,
    timestamp,
    whole_state,
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


def test_event_frame__is_a_tick_only_for_ticks_and_shows_the_job_except_for_log_lines():
    frames = {kind: event_frame("job-1", 1, kind, "{}") for kind in EventKind}
    assert {kind for kind, frame in frames.items() if frame.is_tick} == {EventKind.TICK}
    assert {kind for kind, frame in frames.items() if not frame.subject} == {EventKind.LOG}


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
        feed_entry(job)
    with pytest.raises(ValueError, match=r".+"):
        snapshot(job_state(job), name="", position=Position("e1", 1), recovered=False)
    with pytest.raises(ValueError, match=r".+"):
        event_text(event(**bad))


def test_timestamp__is_utc_with_a_z():
    east = datetime(2026, 1, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    assert timestamp(east) == "2026-01-01T00:00:00.000000Z"


def test_feed_entry__is_the_whole_state_but_for_the_result():
    job = a_job()
    job.metadata = {"attempt": 1, "result": {"rows": 40}, "stage": "Load"}
    state = whole_state(job)
    assert state["metadata"] == job.metadata
    assert json.loads(feed_entry(job)) == {**state, "metadata": {"attempt": 1, "stage": "Load"}}
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


def test_snapshot__position_overrides_the_state():
    frame = snapshot(job_state(a_job()), name="", position=Position("e2", 9), recovered=True)
    shown = json.loads(frame.text)
    assert (shown["epoch"], shown["seq"], shown["recovered"], frame.seq) == ("e2", 9, True, 9)


# Commands


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"type": "ping"}, Ping()),
        ({"type": "ping", "extra": [1]}, Ping()),
        ({"type": "subscribe", "job_id": "a"}, Subscribe("a")),
        ({"type": "subscribe", "job_id": "a", "since": None}, Subscribe("a")),
        ({"type": "subscribe", "job_id": "a", "logs": True}, Subscribe("a", logs=True)),
        ({"type": "subscribe", "job_id": "a", "since": {"epoch": "e", "seq": 0}}, Subscribe("a", Position("e", 0))),
        (
            {"type": "subscribe", "job_id": "a", "since": {"epoch": "e", "seq": 2**63 - 1}},
            Subscribe("a", Position("e", 2**63 - 1)),
        ),
        ({"type": "subscribe", "job_id": "", "logs": False}, Subscribe("")),
        ({"type": "subscribe", "feed": "all"}, SubscribeFeed("all")),
        ({"type": "subscribe", "feed": "mine"}, SubscribeFeed("mine")),
        ({"type": "unsubscribe", "job_id": "a"}, Unsubscribe("a", is_feed=False)),
        ({"type": "unsubscribe", "feed": "mine"}, Unsubscribe("mine", is_feed=True)),
        (
            {"type": "subscribe", "jobs": [{"job_id": "a", "since": {"epoch": "e", "seq": 17}}, {"job_id": "b"}]},
            SubscribeMany((Subscribe("a", Position("e", 17)), Subscribe("b"))),
        ),
        (
            {"type": "subscribe", "jobs": [{"job_id": "a", "since": None, "extra": 1}], "logs": True},
            SubscribeMany((Subscribe("a", logs=True),)),
        ),
        ({"type": "unsubscribe", "job_ids": ["b", "a"]}, UnsubscribeMany(("b", "a"))),
        ({"type": "auth", "token": "t"}, Auth("t")),
    ],
    ids=str,
)
def test_parse__command(message, command):
    assert parse(json.dumps(message)) == command


def test_parse__as_many_jobs_as_a_socket_may_watch_by_default():
    assert MAX_JOBS == Conf.MAX_SUBSCRIPTIONS
    ids = [f"{number:064}" for number in range(MAX_JOBS)]
    since = {"epoch": "f" * 16, "seq": 2**63 - 1}
    subscribe = json.dumps({"type": "subscribe", "jobs": [{"job_id": job_id, "since": since} for job_id in ids]})
    assert len(subscribe) < Conf.MAX_MESSAGE_BYTES
    assert [each.job_id for each in parse(subscribe).jobs] == ids
    assert parse(json.dumps({"type": "unsubscribe", "job_ids": ids})) == UnsubscribeMany(tuple(ids))


TOO_MANY = [f"job-{number}" for number in range(MAX_JOBS + 1)]


@pytest.mark.parametrize(
    "jobs",
    [
        None,
        True,
        "a",
        {"job_id": "a"},
        [],
        ["a"],
        [{}],
        [None],
        [{"job_id": "a"}, {"job_id": 5}],
        [{"job_id": "a"}, {"job_id": "b", "since": {"epoch": "e", "seq": -1}}],
        [{"job_id": "a"}, {"job_id": "b", "since": 5}],
        [{"job_id": "a"}, {"feed": "all"}],
        [{"job_id": "a"}, {"job_id": "\ud800"}],
        [{"job_id": "a"}, {"job_id": "b"}, {"job_id": "a", "since": {"epoch": "e", "seq": 1}}],
        [{"job_id": job_id} for job_id in TOO_MANY],
    ],
    ids=lambda jobs: repr(jobs)[:40],
)
def test_parse__wrong_list_of_subscriptions(jobs):
    refuses(json.dumps({"type": "subscribe", "jobs": jobs}))


@pytest.mark.parametrize(
    "job_ids",
    [
        None,
        True,
        "a",
        {"a": 1},
        [],
        [None],
        ["a", 5],
        [["a"]],
        [{"job_id": "a"}],
        ["a", "\ud800"],
        ["a", "a"],
        TOO_MANY,
    ],
    ids=lambda job_ids: repr(job_ids)[:40],
)
def test_parse__wrong_list_of_what_is_dropped(job_ids):
    refuses(json.dumps({"type": "unsubscribe", "job_ids": job_ids}))


@pytest.mark.parametrize(
    "message",
    [
        {"type": "subscribe", "jobs": [{"job_id": "a"}], "job_id": "b"},
        {"type": "subscribe", "jobs": [{"job_id": "a"}], "feed": "all"},
        {"type": "subscribe", "jobs": [{"job_id": "a"}], "logs": "yes"},
        {"type": "subscribe", "job_ids": ["a"]},
        {"type": "unsubscribe", "job_ids": ["a"], "job_id": "b"},
        {"type": "unsubscribe", "job_ids": ["a"], "feed": "all"},
        {"type": "unsubscribe", "jobs": [{"job_id": "a"}]},
    ],
    ids=str,
)
def test_parse__a_list_and_something_else(message):
    refuses(json.dumps(message))


WRONG = [None, True, 1, 1.5, [], {}, ["a"], {"a": 1}]


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize(
    ("kind", "field"),
    [
        ("subscribe", "job_id"),
        ("unsubscribe", "job_id"),
        ("auth", "token"),
        ("subscribe", "feed"),
        ("unsubscribe", "feed"),
    ],
)
def test_parse__wrong_type_of_a_field(kind, field, value):
    refuses(json.dumps({"type": kind, field: value}))


@pytest.mark.parametrize(
    "value", [*WRONG, "Ping", "ping ", "connect", "websocket_disconnect", "__class__", ""], ids=repr
)
def test_parse__unknown_type(value):
    refuses(json.dumps({"type": value}))


@pytest.mark.parametrize(
    "since",
    [
        True,
        5,
        "e",
        [],
        ["e", 1],
        {},
        {"epoch": "e"},
        {"seq": 1},
        {"epoch": 1, "seq": 1},
        {"epoch": None, "seq": 1},
        {"epoch": "e", "seq": "1"},
        {"epoch": "e", "seq": True},
        {"epoch": "e", "seq": 1.0},
        {"epoch": "e", "seq": -1},
        {"epoch": "e", "seq": 2**63},
        {"epoch": "e", "seq": None},
    ],
    ids=str,
)
def test_parse__wrong_position(since):
    refuses(json.dumps({"type": "subscribe", "job_id": "a", "since": since}))


@pytest.mark.parametrize("logs", [None, 0, 1, "true", [], {}], ids=repr)
def test_parse__wrong_logs(logs):
    refuses(json.dumps({"type": "subscribe", "job_id": "a", "logs": logs}))


@pytest.mark.parametrize("kind", ["subscribe", "unsubscribe"])
@pytest.mark.parametrize("fields", [{"feed": "others"}, {"feed": "all", "job_id": "a"}, {}])
def test_parse__neither_job_nor_feed(kind, fields):
    refuses(json.dumps({"type": kind, **fields}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "ping",
        "{",
        "[]",
        "null",
        '"ping"',
        "1",
        '{"type": "ping"}{',
        "{'type': 'ping'}",
        "[" * 100_000,
        '{"type":' * 50_000,
        '{"type": "ping", "n": ' + "9" * 10_000 + "}",
        '{"type": "ping", "n": NaN}',
        '{"type": "ping", "n": -Infinity}',
        '{"type": "subscribe", "job_id": "a", "since": {"epoch": "e", "seq": Infinity}}',
        "\ufeff{}",
        "\x00",
    ],
    ids=lambda text: repr(text[:30]),
)
def test_parse__no_json_object(text):
    refuses(text)


@pytest.mark.parametrize(
    "message",
    [
        r'{"type": "subscribe", "job_id": "\ud800"}',
        r'{"type": "unsubscribe", "job_id": "job-\udfff"}',
        r'{"type": "auth", "token": "\ud83d"}',
    ],
)
def test_parse__half_of_a_surrogate_pair_is_no_string(message):
    """It could not be sent back in a text frame, which is UTF-8."""
    refuses(message)


def refuses(text: str) -> None:
    with pytest.raises(Refused) as caught:
        parse(text)
    assert caught.value.code is ErrorCode.INVALID_MESSAGE
    assert caught.value.close is None


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536, 70_000])
def test_frame__text_is_what_the_frame_carries(length):
    frame = Frame("é" + "x" * (length - 2) if length else "")
    assert len(frame.wire) == length + (2 if length < 126 else 4 if length < 65_536 else 10)
    assert frame.wire.endswith(frame.text.encode())
    assert len(frame.text.encode()) == length
