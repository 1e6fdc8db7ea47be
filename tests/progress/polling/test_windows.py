"""The windows by which waits end, by the vectors that clients in any language can test themselves against."""

import json
from typing import Any

import pytest

from progress.polling.windows import MOST_AHEAD, WINDOW_MS, end_of, named, present, waited_for
from tests.installation import ROOT

VECTORS = json.loads((ROOT / "tests/vectors/windows.json").read_text())


@pytest.mark.parametrize("vector", VECTORS, ids=lambda each: each["name"])
def test_windows__are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    job, now, asked = vector["job"], vector["now"], vector["asked"]
    if vector.get("refused"):
        with pytest.raises(ValueError, match="too far ahead"):
            waited_for(job, asked, now)
        return
    window = waited_for(job, asked, now)
    assert (None if window is None else end_of(job, window)) == vector["until"]
    for answer in vector["answers"]:
        assert named(job, window, answer["now"], is_empty=False) == answer["events"]
        assert named(job, window, answer["now"], is_empty=True) == answer["empty"]


@pytest.mark.parametrize("job", ["job-1", "a", "0190f8d2", "x" * 64])
def test_windows__follow_one_another_without_a_gap(job: str) -> None:
    for now in range(1_764_205_600_000, 1_764_205_700_000, 997):
        window = present(job, now)
        assert now < end_of(job, window) <= now + WINDOW_MS
        assert present(job, end_of(job, window)) == window + 1


@pytest.mark.parametrize("ahead", range(MOST_AHEAD + 1))
def test_empty_answer__is_not_asked_for_twice(ahead: int) -> None:
    """Whoever does as it says waits for a later window each time, and never longer than two of them."""
    job, now = "job-1", 1_764_205_600_000
    asked, seen = present(job, now) + ahead, []
    for _ in range(10):
        window = waited_for(job, asked, now)
        assert window is not None
        seen.append(window)
        assert end_of(job, window) - now <= 2 * WINDOW_MS
        now = end_of(job, window)
        asked = named(job, window, now, is_empty=True)
    assert seen == list(range(seen[0], seen[0] + 10))


def test_groups__that_come_at_different_times_ask_for_the_same() -> None:
    """Each group asks without a window first, and then for the one that it was told."""
    job, begin = "job-1", 1_764_205_609_962
    told = {named(job, None, begin + 1_000 * second, is_empty=True) for second in range(20)}
    assert len(told) == 1
