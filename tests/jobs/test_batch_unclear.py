"""Joint writes whose connection is lost: what was sent is looked for before anything is written again."""

import threading
from typing import Any

import pytest
from django.db import OperationalError, connection, connections

from jobs import database
from jobs.batch import Pending, log_decision, write_together
from jobs.exceptions import StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from tests.jobs.batches import pending, said
from tests.jobs.cuts import cut, in_thread
from tests.jobs.records import assert_whole, row

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_age")]

JOBS = 3
MOMENTS = "before", "after", "at commit", "after commit"
SAID = [10, "x", "x"]  # the same line twice


@pytest.fixture
def running(make_job: Any, committed: list[Any]) -> list[ProcessingJobLifecycle]:
    lifecycles = [make_job(f"job-{number}", status="in_progress") for number in range(JOBS)]
    del committed[:]
    return lifecycles


def assert_said(lifecycles: Any, committed: list[Any], *words: str | float) -> None:
    """Check that each job has said this, and that it was told once, in order."""
    for lifecycle in lifecycles:
        assert said(lifecycle) == [*words]
        assert_whole(lifecycle.job_id)
        seqs = [event.seq for event in committed if event.job_id == lifecycle.job_id]
        assert seqs == list(range(3, 3 + len(words)))


def write_while_away(moment: str, batch: list[Pending]) -> None:
    """Lose the connection, and find nobody there."""
    here = connections["default"]
    connect = type(here).get_new_connection

    def refuse(self: Any, params: Any) -> Any:
        if self is here and met:
            raise OperationalError("connection refused")
        return connect(self, params)

    with cut(moment, word="INSERT" if moment in MOMENTS[:2] else "") as met, pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(here), "get_new_connection", refuse)
        answers = write_together(batch)
    assert [str(answer) for answer in answers] == ["connection refused"] * len(batch)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("times", [1, 3])
def test_lost__all_is_written_once(running: Any, committed: list[Any], moment: str, times: int) -> None:
    """Also where it is lost again, as each is written alone."""
    word = "INSERT" if moment in MOMENTS[:2] else ""
    with cut(moment, word=word, times=times):
        assert write_together([pending(lifecycle, *SAID) for lifecycle in running]) == [None] * JOBS
    assert_said(running, committed, *SAID)
    assert write_together([pending(lifecycle, "x") for lifecycle in running]) == [None] * JOBS
    assert_said(running, committed, *SAID, "x")


@pytest.mark.parametrize("word", ["SELECT", "UPDATE"])
def test_lost__before_anything_was_written(running: Any, committed: list[Any], word: str) -> None:
    with cut("before", word=word):
        assert write_together([pending(lifecycle, *SAID) for lifecycle in running]) == [None] * JOBS
    assert_said(running, committed, *SAID)


@pytest.mark.parametrize("moment", MOMENTS)
def test_lost__of_one_job_alone(running: Any, committed: list[Any], moment: str) -> None:
    with cut(moment, word="INSERT" if moment in MOMENTS[:2] else ""):
        assert write_together([pending(running[0], *SAID)]) == [None]
    assert_said(running[:1], committed, *SAID)


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("jobs", [1, JOBS])
def test_away__all_are_answered_and_may_be_handed_in_again(
    running: Any, committed: list[Any], moment: str, jobs: int
) -> None:
    batch = [pending(lifecycle, *SAID) for lifecycle in running[:jobs]]
    write_while_away(moment, batch)
    assert committed == []
    assert [said(one.lifecycle) for one in batch] == [SAID if moment == "after commit" else []] * jobs
    more = [Pending(one.lifecycle, [*one.decisions, log_decision("x")]) for one in batch]
    assert write_together(more) == write_together(more) == [None] * jobs
    assert_said(running[:jobs], committed, *SAID, "x")


@pytest.mark.parametrize("moment", MOMENTS)
def test_away__another_call_comes_first(running: Any, committed: list[Any], moment: str) -> None:
    """It tells of what is committed, so that nothing is told out of order; and takes none of it for its own."""
    batch = [pending(lifecycle, *SAID) for lifecycle in running]
    write_while_away(moment, batch)
    for lifecycle in running:
        lifecycle.log("x")
    assert write_together(batch) == [None] * JOBS
    assert_said(running, committed, *([*SAID, "x"] if moment == "after commit" else ["x", *SAID]))


def test_away__what_is_given_up_is_told_by_the_next_call(running: Any, committed: list[Any]) -> None:
    write_while_away("after commit", [pending(lifecycle, *SAID) for lifecycle in running])
    assert write_together([pending(lifecycle, "x") for lifecycle in running]) == [None] * JOBS
    assert_said(running, committed, *SAID, "x")


def test_away__another_call_finds_it_committed(running: Any, committed: list[Any], monkeypatch: Any) -> None:
    batch = [pending(lifecycle, *SAID) for lifecycle in running]
    with cut("after commit"), monkeypatch.context() as patch:
        # Before it is looked for, the worker itself goes on.
        patch.setattr(
            database.time,
            "sleep",
            lambda _: in_thread(lambda: [lifecycle.log("x") for lifecycle in running] and None),
        )
        assert write_together(batch) == [None] * JOBS
    assert_said(running, committed, *SAID, "x")


def test_away__another_call_has_taken_it_over_but_not_asked(running: Any, committed: list[Any]) -> None:
    """The decisions themselves know with what they were sent."""
    first = running[0]
    decisions = pending(first, *SAID).decisions
    write_together([Pending(first, decisions)])
    for decision in decisions:  # as it is after a COMMIT whose answer was lost
        decision.is_written = False
    first.lost(decisions, writes=[mock_write(event) for event in committed])
    taken = first._take_left()
    assert write_together([Pending(first, decisions), pending(running[1], "a")]) == [None, None]
    assert said(first) == SAID
    assert len(taken) == 1
    assert_whole(first.job_id)


def mock_write(event: Any) -> Any:
    """Return a write of which only the event is known."""
    return type("Write", (), {"event": event})()


@pytest.mark.parametrize("moment", ["after", "after commit"])
def test_away__a_late_repetition_is_still_of_its_attempt(running: Any, moment: str) -> None:
    batch = [pending(lifecycle, *SAID) for lifecycle in running]
    write_while_away(moment, batch)
    rightful = ProcessingJobLifecycle(running[0].job_id)
    rightful.mark_queued()
    rightful.mark_started()
    answers = write_together(batch)
    assert [type(answer) for answer in answers] == [StaleAttempt, type(None), type(None)]
    assert row(running[0].job_id)["status"] == "in_progress"
    assert_whole(running[0].job_id)


def test_threads__that_run_freely_beside_it(running: Any, committed: list[Any]) -> None:
    """All say the same, so that one could be taken for another's."""
    is_over = threading.Event()
    written: list[int] = []

    def work() -> None:
        count = 0
        while not is_over.is_set():
            for lifecycle in running:
                lifecycle.log("x")
            count += 1
        written.append(count)
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(8):
            with cut("after commit" if number % 2 else "after", word="" if number % 2 else "INSERT"):
                assert write_together([pending(lifecycle, "x", "x") for lifecycle in running]) == [None] * JOBS
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
    for lifecycle in running:
        assert said(lifecycle) == ["x"] * (sum(written) + 16)
        assert_whole(lifecycle.job_id)
    assert len({(event.job_id, event.seq) for event in committed}) == len(committed) == JOBS * (sum(written) + 16)
