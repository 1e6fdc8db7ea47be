"""The load client on snapshots and recoveries: they are whole, or it says what is missing."""

import json
from collections.abc import Iterator

import pytest

from benchmarks import payload
from tests.benchmarks.wired import ALL, EVENTS, FIRST, Wired, event, frame, snapshot


@pytest.fixture
def promised() -> Iterator[Wired]:
    """Watchers who are to get a snapshot."""
    made = Wired(snapshots=True)
    yield made
    made.close()


def test_a_snapshot_says_where_to_begin(promised: Wired) -> None:
    for number in range(2):
        promised.feed(number, snapshot(41), *(event(42 + number) for number in range(EVENTS)))
    report = promised.report()
    assert (report["got"], report["lost"], report["problems"]) == (2 * EVENTS, 0, {})
    assert promised.load.all_ready.is_set()


def test_a_snapshot__of_a_peer_that_has_none(wired: Wired) -> None:
    wired.feed(0, snapshot(41), *ALL)
    report = wired.report()
    assert (report["got"], report["problems"]) == (EVENTS, {"a snapshot of a peer that has none": 1})


def test_a_second_snapshot(promised: Wired) -> None:
    promised.feed(0, snapshot(FIRST - 1), *ALL[:3], snapshot(FIRST + 2), *ALL[3:])
    report = promised.report()
    assert (report["got"], report["problems"]) == (EVENTS, {"a second snapshot": 1})


def test_an_event_before_the_snapshot(promised: Wired) -> None:
    promised.feed(0, ALL[0], snapshot(FIRST), *ALL[1:])
    assert promised.problems == {"an event before the snapshot": 1}


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "other"},
        {"status": "completed"},
        {"epoch": ""},
        {"recovered": True},
        {"more": 1},
    ],
)
def test_a_snapshot_with_other_content(promised: Wired, changes: dict[str, object]) -> None:
    promised.feed(0, snapshot(FIRST - 1, **changes), *ALL)
    assert promised.problems == {"a snapshot with wrong content": 1}


@pytest.mark.parametrize("name", ["job_id", "status", "epoch", "recovered", "progress"])
def test_a_snapshot_without_a_field(promised: Wired, name: str) -> None:
    fields = json.loads(snapshot(FIRST - 1)[4:])
    del fields[name]
    promised.feed(0, frame(payload.text(fields)), *ALL)
    assert promised.problems == {"a snapshot with wrong content": 1}


def test_a_snapshot_that_another_got_otherwise(promised: Wired) -> None:
    promised.feed(0, snapshot(FIRST - 1))
    promised.feed(1, snapshot(FIRST - 1, message="else"))
    assert promised.problems == {"a snapshot in other bytes than another watcher got": 1}


@pytest.fixture
def resuming() -> Iterator[Wired]:
    """Watchers who resume."""
    made = Wired(snapshots=True, resumes=True)
    yield made
    made.close()


@pytest.mark.parametrize("end", [FIRST + EVENTS - 2, FIRST + EVENTS - 1, FIRST + EVENTS])
def test_a_recovery_must_be_whole(resuming: Wired, end: int) -> None:
    for number in range(2):
        resuming.feed(number, b"".join(ALL), snapshot(end, recovered=True))
    is_whole = end == FIRST + EVENTS - 1
    assert resuming.problems == ({} if is_whole else {"a recovery that is not whole": 2})
    assert resuming.load.all_finished.is_set()


def test_a_recovery_must_be_whole__an_event_is_missing(resuming: Wired) -> None:
    resuming.feed(0, *ALL[:2], *ALL[3:], snapshot(FIRST + EVENTS - 1, recovered=True))
    report = resuming.report()
    assert (report["lost"], report["problems"]) == (1 + EVENTS, {"a recovery that is not whole": 1})


def test_a_recovery__not_recovered(resuming: Wired) -> None:
    resuming.feed(0, *ALL, snapshot(FIRST + EVENTS - 1))
    assert resuming.problems == {"a snapshot with wrong content": 1}


@pytest.mark.parametrize(
    "changes",
    [{"progress": 0.1}, {"message": "Item"}, {"metadata": {}}, {"timestamp": "2026-01-01T00:00:01.000000Z"}],
)
def test_a_recovery_shows_the_last_event(resuming: Wired, changes: dict[str, object]) -> None:
    resuming.feed(0, *ALL, snapshot(FIRST + EVENTS - 1, recovered=True, **changes))
    assert resuming.problems == {"a recovery that is not whole": 1}


def test_a_recovery__then_an_event(resuming: Wired) -> None:
    resuming.feed(0, *ALL, snapshot(FIRST + EVENTS - 1, recovered=True), event(FIRST + EVENTS))
    assert resuming.problems == {"an event after the last": 1}
