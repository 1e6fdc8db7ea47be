"""The load client notices whatever is not exactly what was sent: a figure is worth no more than its checks."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import websocket
from tests.benchmarks.wired import ALL, EVENTS, FIRST, Wired, event, frame


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Return data in pieces."""
    edges = [0, *sorted({place % len(data) for place in places} - {0}), len(data)]
    return [data[begin:end] for begin, end in itertools.pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=12), st.lists(st.integers(0, 10_000), max_size=12))
def test_all_is_counted_however_it_is_cut(first: list[int], second: list[int]) -> None:
    wired = Wired()
    try:
        data = frame('{"type":"heartbeat"}') + b"".join(ALL[:3]) + frame("", websocket.PING) + b"".join(ALL[3:])
        wired.feed(0, *cut(data, first))
        wired.feed(1, *cut(data, second))
        report = wired.report()
        assert (report["got"], report["lost"], report["problems"]) == (2 * EVENTS, 0, {})
        assert wired.load.all_finished.is_set()
    finally:
        wired.close()


def test_a_whole_burst_is_one_comparison(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL))
    taken: list[bytes] = []
    wired.load.watchers[1].take = taken.append  # type: ignore[method-assign,assignment]
    wired.feed(1, b"".join(ALL))
    assert taken == []
    assert wired.load.watchers[1].got == EVENTS
    assert wired.load.all_finished.is_set()


def test_an_event_that_is_missing(wired: Wired) -> None:
    for number in range(2):
        wired.feed(number, b"".join(ALL[:2] + ALL[3:]))
    report = wired.report()
    assert (report["got"], report["lost"]) == (2 * (EVENTS - 1), 2)


def test_an_event_that_is_missing_for_one(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL))
    wired.feed(1, b"".join(ALL[:2] + ALL[3:]))
    report = wired.report()
    assert (report["got"], report["lost"]) == (2 * EVENTS - 1, 1)


def test_the_end_that_does_not_come(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL))
    wired.feed(1, b"".join(ALL[:-1]))
    assert wired.report()["lost"] == 1
    assert not wired.load.all_finished.is_set()


def test_half_an_event(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL))
    wired.feed(1, b"".join(ALL)[:-1])
    assert wired.report()["lost"] == 1
    assert not wired.load.all_finished.is_set()


@pytest.mark.parametrize(
    "order", [[0, 0, 1, 2, 3, 4, 5], [0, 1, 2, 1, 3, 4, 5], [1, 0, 2, 3, 4, 5], [0, 1, 2, 3, 5, 4]]
)
def test_an_event_twice_or_out_of_order(wired: Wired, order: list[int]) -> None:
    wired.feed(0, b"".join(ALL))
    wired.feed(1, b"".join(ALL[number] for number in order))
    assert wired.report()["problems"] == {"events out of order": 1}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize(
    ("old", "new"), [(b'"progress":0.5', b'"progress":0.7'), (b"....", b"..x."), (b'"s3"', b'"s4"')]
)
def test_an_event_with_other_content(wired: Wired, number: int, old: bytes, new: bytes) -> None:
    spoiled = b"".join(ALL).replace(old, new, 1)
    assert spoiled != b"".join(ALL)
    wired.feed(1 - number, b"".join(ALL))
    wired.feed(number, spoiled)
    assert sum(wired.report()["problems"].values()) == 1  # type: ignore[attr-defined]


def test_a_first_watcher_with_other_content(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL).replace(b"....", b"..x.", 1))
    assert wired.report()["problems"] == {"an event with wrong content": 1}


def test_a_socket_that_the_server_closes(wired: Wired) -> None:
    wired.load.listen(wired.load.watchers[0])
    wired.feed(0, b"".join(ALL), bytes([0x88, 2]) + (4008).to_bytes(2, "big"))
    wired.ends[0].close()
    wired.load.watchers[0].read()
    assert wired.report()["problems"] == {"closed by the server (4008)": 1}


def test_an_error_frame(wired: Wired) -> None:
    wired.feed(0, frame('{"type":"error","code":"job_not_found","message":"Job not found"}'))
    assert wired.report()["problems"] == {"error frame: job_not_found": 1}


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("read_together", [True, False])
def test_an_event_after_the_last(wired: Wired, number: int, read_together: bool) -> None:
    wired.feed(1 - number, b"".join(ALL))
    more = event(FIRST + EVENTS)
    wired.feed(number, *([b"".join(ALL) + more] if read_together else [b"".join(ALL), more]))
    report = wired.report()
    assert (report["got"], report["lost"]) == (2 * EVENTS, 0)
    assert report["problems"] == {"an event after the last": 1}


def test_an_event_after_the_last__for_all(wired: Wired) -> None:
    for number in range(2):
        wired.feed(number, b"".join(ALL) + event(FIRST + EVENTS) + event(FIRST + EVENTS + 1))
    report = wired.report()
    assert (report["got"], report["problems"]) == (2 * EVENTS, {"an event after the last": 4})


def test_the_last_event_twice(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL), ALL[-1])
    report = wired.report()
    assert (report["got"], report["problems"]) == (EVENTS, {"events out of order": 1})


@pytest.mark.parametrize("number", [0, 1])
def test_bytes_after_the_end(wired: Wired, number: int) -> None:
    wired.feed(1 - number, b"".join(ALL))
    wired.feed(number, b"".join(ALL), ALL[0][:1])
    assert wired.problems == {"bytes behind the last event": 1}


def test_a_heartbeat_after_the_end(wired: Wired) -> None:
    wired.feed(0, b"".join(ALL), frame('{"type":"heartbeat","timestamp":"2026-01-01T00:00:00.000000Z"}'))
    wired.feed(1, b"".join(ALL), frame("", websocket.PING))
    assert wired.problems == {}


def test_pings_heartbeats_and_closes_are_no_news() -> None:
    wired = Wired()
    try:
        for watcher in wired.load.watchers:
            wired.load.listen(watcher)
        wired.ends[0].sendall(ALL[0])
        wired.load.read()
        assert wired.load.reads == 1
        wired.ends[0].sendall(frame("", websocket.PING))
        wired.ends[1].sendall(frame('{"type":"heartbeat"}'))
        wired.load.read()
        assert wired.load.reads == 1
        wired.ends[1].sendall(b"\x88\x00")
        wired.load.read()
        assert wired.load.reads == 1
    finally:
        wired.close()


BARE = ALL[0][4:]  # without its header
MALFORMED = {
    "without FIN": bytes([0x01]) + ALL[0][1:],
    "with reserved bits": bytes([0xC1]) + ALL[0][1:],
    "with a mask": ALL[0][:1] + bytes([ALL[0][1] | 0x80]) + ALL[0][2:4] + bytes(4) + BARE,
    "with a length in too many bytes": b"\x81\x7f" + len(BARE).to_bytes(8, "big") + BARE,
    "of opcode 0": bytes([0x80]) + ALL[0][1:],
    "of opcode 2": bytes([0x82]) + ALL[0][1:],
    "of opcode 3": bytes([0x83]) + ALL[0][1:],
    "of opcode 10": frame("", websocket.PONG),
    "of control that is too long": b"\x89\x7e" + len(BARE).to_bytes(2, "big") + BARE,
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_malformed_frame(wired: Wired, fault: str) -> None:
    wired.feed(0, MALFORMED[fault], *ALL)
    wired.feed(1, *ALL[:3], MALFORMED[fault], *ALL[3:])
    report = wired.report()
    assert (report["got"], report["problems"]) == (2 * EVENTS, {f"a frame {fault}": 2})


def test_a_short_text_in_a_long_frame(wired: Wired) -> None:
    wired.feed(0, b"\x81\x7e\x00\x14" + b'{"type":"heartbeat"}')
    assert wired.problems == {"a frame with a length in too many bytes": 1}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"type":"log","subject":"bench","seq":3}', "log"),
        ('{"type":"progress"}', "progress"),
        ('{"type":"snapshot","seq":"3"}', "snapshot"),
        ("[]", None),
        ("3", None),
        ("{", None),
        ("", None),
    ],
)
def test_an_unknown_message(wired: Wired, text: str, kind: str | None) -> None:
    wired.feed(0, frame(text), *ALL)
    report = wired.report()
    assert (report["got"], report["problems"]) == (EVENTS, {f"an unknown message: {kind}": 1})


def test_a_text_that_is_not_utf_8(wired: Wired) -> None:
    wired.feed(0, b"\x81\x04\xff\xfe\x00\x00")
    assert wired.problems == {"an unknown message: None": 1}


def test_the_moment_of_each_event_is_noted(wired: Wired) -> None:
    wired.load.stamping = True
    wired.feed(0, *ALL)
    wired.feed(1, b"".join(ALL)[:-1], b"".join(ALL)[-1:])
    assert [seq for seq, _ in wired.load.stamps] == 2 * [FIRST + number for number in range(EVENTS)]
