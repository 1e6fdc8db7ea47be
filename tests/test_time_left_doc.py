"""What docs/time_left.md shows runs, and its figures are those of the code."""

import re
from typing import Any

import pytest

from jobs import rate
from jobs.models import KindRun
from jobs.time_left import course, estimate, history, store
from jobs.time_left.record import MAX_SEGMENTS
from tests.documents import FENCE, PAGES, section
from tests.test_readme import run

PAGE = "docs/time_left.md"


@pytest.mark.django_db(transaction=True)
def test_kind__is_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(course, "RESUMED_SHARE", 2.0)  # of so short a run, the first count may be all of it
    ((_, code),) = FENCE.findall(section(PAGE, "Name what is done"))
    done: list[str] = []
    for number in (1, 2):
        names: dict[str, Any] = run(code, urls=["a", "b"], download=done.append, resize=done.append)
        stored = names["job"].job
        assert (stored.status, len(done)) == ("completed", 4 * number)
    assert stored.usual["runs"] == 1
    (first, second) = KindRun.objects.order_by("pk")
    assert (first.kind, first.unit, first.size) == ("thumbnails", "files", 2.0)
    assert all(f'"{stage}"' in second.course for stage in ("download", "resize"))
    run('KindRun.objects.filter(kind="thumbnails").delete()', KindRun=KindRun)
    assert not KindRun.objects.exists()


FIGURES = {
    "smoothed over {} seconds": rate.SMOOTHING_SECONDS,
    "{} or more | a range": estimate.RUNS_FOR_RANGE,
    "takes more than {} times as long as ever": estimate.BEYOND,
    "after {} runs that all took": history.CHANGED,
    "The newest {} of a kind": store.MAX_RUNS,
    "at most {} KiB together": store.MAX_BYTES / 1024,
    "for {} days": store.KEEP_DAYS,
    "less than {} seconds": course.LEAST_SECONDS,
    "more than {} stages": MAX_SEGMENTS,
}
WORDS = {"three": 3.0, "half": 0.5, "eight": 8.0}


@pytest.mark.parametrize("words", FIGURES)
def test_figures__are_those_of_the_code(words: str) -> None:
    found = re.search(re.escape(words).replace(r"\{\}", r"([\w.]+)"), PAGES[PAGE])
    assert found, words
    assert (WORDS.get(found[1]) or float(found[1])) == FIGURES[words]
