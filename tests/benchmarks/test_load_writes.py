"""The load client on real writes: their own numbering, time and metadata."""

from collections.abc import Iterator

import pytest

from benchmarks import expected, payload
from tests.benchmarks.wired import EVENTS, FIRST, Wired, frame

# Real writes: their own numbering, time and metadata


def written(seq: int, number: int, **changes: object) -> bytes:
    """Return the frame of an event that a worker wrote as its so-manieth."""
    own = {"seq": seq, "metadata": {"stage": "s3", "attempt": 1}, "timestamp": "2026-10-10T10:10:10.123456Z"}
    return frame(payload.text({**payload.fields(number), **own, **changes}))


@pytest.fixture
def loose() -> Iterator[Wired]:
    made = Wired(loose=True)
    yield made
    made.close()


def test_real_writes(loose: Wired) -> None:
    data = [written(FIRST + number, 997 + number) for number in range(EVENTS)]  # its progress begins anew meanwhile
    loose.feed(0, *data)
    loose.feed(1, b"".join(data))
    report = loose.report()
    assert (report["got"], report["lost"], report["problems"]) == (2 * EVENTS, 0, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"job_id": "other"},
        {"status": "completed"},
        {"message": "Other"},
        {"message": "Item x"},
        {"metadata": {"attempt": 1}},
        {"metadata": {"stage": "s4"}},
        {"metadata": None},
        {"timestamp": "yesterday"},
        {"timestamp": "2026-01-01T00:00:00"},
        {"timestamp": None},
        {"progress": 0.3},
        {"progress": None},
        {"more": 1},
    ],
)
def test_real_writes__other_content(loose: Wired, changes: dict[str, object]) -> None:
    loose.feed(0, written(FIRST, 1), written(FIRST + 1, 2, **changes))
    assert loose.problems == {"an event with wrong content": 1}


def test_real_writes__each_job_has_its_own_numbering() -> None:
    wired = Wired(("job-0", "job-1"), loose=True)
    try:
        for number in range(2):
            wired.feed(number, written(FIRST, 5 * number + 1, job_id=f"job-{number}"))
        assert wired.problems == {}
        wired.feed(0, written(FIRST + 1, 7, job_id="job-0"))
        assert wired.problems == {"an event with wrong content": 1}
    finally:
        wired.close()


def test_shift__is_the_same_for_all_events_of_a_run() -> None:
    shifts = {expected.shift({**payload.fields(number), "seq": number + 41}) for number in range(1, 3_000)}
    assert shifts == {1000 - 41}
