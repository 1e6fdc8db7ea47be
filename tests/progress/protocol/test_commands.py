"""Every message that a client may send, and what is none."""

import json

import pytest

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
    parse,
)
from progress.protocol.exceptions import Refused
from progress.protocol.position import Position

# Commands


@pytest.mark.parametrize(
    ("message", "command"),
    [
        ({"type": "ping"}, Ping()),
        ({"type": "ping", "extra": [1]}, Ping()),
        ({"type": "subscribe", "job_id": "a"}, Subscribe("a")),
        ({"type": "subscribe", "job_id": "a", "since": None}, Subscribe("a")),
        ({"type": "subscribe", "job_id": "a", "logs": True}, Subscribe("a", logs=True)),
        ({"type": "subscribe", "job_id": "a", "output": True}, Subscribe("a", output=True)),
        (
            {"type": "subscribe", "jobs": [{"job_id": "a"}, {"job_id": "b"}], "output": True},
            SubscribeMany((Subscribe("a", output=True), Subscribe("b", output=True))),
        ),
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
    for name in "logs", "output":
        refuses(json.dumps({"type": "subscribe", "job_id": "a", name: logs}))


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
