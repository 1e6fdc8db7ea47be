"""Several writers of one job at once: in threads on SQLite, in processes on SQLite and PostgreSQL."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import Any

import pytest
from django.db import connections

from jobs.exceptions import DuplicateJob, InvalidTransition
from jobs.lifecycle import ProcessingJobLifecycle
from tests.conftest import MakeSite
from tests.installation import Site, finish
from tests.jobs.records import assert_whole, log, row
from tests.sampling import first_quick

ROUNDS = 15  # how often a race for one change is run, since one start decides little

in_threads = pytest.mark.django_db(transaction=True)


def race(*works: Callable[[], Any]) -> list[Any]:
    """Run works at once, each in its thread; return what each returned or raised."""
    barrier = Barrier(len(works), timeout=10)

    def run(work: Callable[[], Any]) -> Any:
        try:
            barrier.wait()
            return work()
        except Exception as error:
            return error
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(run, works))


@in_threads
@pytest.mark.parametrize("shared", [True, False], ids=["one object", "an object each"])
def test_threads__reports_leave_no_gap(make_job: Any, shared: bool) -> None:
    one = make_job(status="in_progress")

    def report(lifecycle: ProcessingJobLifecycle, name: str) -> Callable[[], None]:
        def work() -> None:
            for number in range(25):
                lifecycle.mark_progress(number, metadata={name: number})

        return work

    works = [report(one if shared else ProcessingJobLifecycle(one.job_id), name) for name in "abcd"]
    assert race(*works) == [None] * 4
    assert row(one.job_id)["seq"] == 2 + 4 * 25
    assert row(one.job_id)["metadata"].items() >= dict.fromkeys("abcd", 24).items()
    assert_whole(one.job_id)


@in_threads
def test_threads__of_two_endings_one_succeeds(make_job: Any) -> None:
    for _ in range(ROUNDS):
        job_id = make_job(status="in_progress").job_id
        first, second = ProcessingJobLifecycle(job_id), ProcessingJobLifecycle(job_id)
        outcomes = race(first.mark_completed, second.mark_failed)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["InvalidTransition", "NoneType"]
        assert row(job_id)["status"] == ("completed" if outcomes[0] is None else "failed")
        assert len(log(job_id)) == 3


@in_threads
def test_threads__of_two_workers_one_starts(make_job: Any) -> None:
    for _ in range(ROUNDS):
        job_id = make_job(status="queued").job_id
        outcomes = race(*(ProcessingJobLifecycle(job_id).mark_started for _ in range(2)))
        assert sum(isinstance(outcome, InvalidTransition) for outcome in outcomes) == 1
        assert_whole(job_id)


@in_threads
def test_threads__of_two_creations_one_succeeds() -> None:
    for number in range(ROUNDS):
        outcomes = race(*[partial(ProcessingJobLifecycle.create, f"job-{number}")] * 2)
        assert sum(isinstance(outcome, DuplicateJob) for outcome in outcomes) == 1
        assert_whole(f"job-{number}")


@in_threads
def test_threads__a_cancellation_beside_reports_is_not_lost(make_job: Any) -> None:
    worker = make_job(status="in_progress")

    def report() -> None:
        for number in range(50):
            worker.mark_progress(number)

    assert race(report, ProcessingJobLifecycle(worker.job_id).request_cancel) == [None, None]
    worker.log("one more write, at which it is seen at the latest")
    assert worker.cancel_requested
    assert row(worker.job_id)["metadata"]["cancel_requested"] is True
    assert_whole(worker.job_id)


# Waits for a line on stdin, so that all begin at once; then tells what it did as JSON.
RACER = """
    import json, sys
    from jobs.exceptions import JobError
    from jobs.lifecycle import ProcessingJobLifecycle

    job_id, method, number = sys.argv[1:4]
    lifecycle = ProcessingJobLifecycle(job_id)
    lifecycle.job
    print("ready", flush=True)
    sys.stdin.readline()
    done = []
    for turn in range(int(number)):
        try:
            getattr(lifecycle, method)(message=f"{method} {turn}")
            done.append("ok")
        except JobError as error:
            done.append(type(error).__name__)
    print(json.dumps(done))
"""

PREPARE = """
    import sys
    from jobs.lifecycle import ProcessingJobLifecycle
    for job_id in sys.argv[1:]:
        ProcessingJobLifecycle.create(job_id).mark_started()
"""


@pytest.fixture(params=first_quick(["postgres", "sqlite"]))
def raced(request: pytest.FixtureRequest, make_site: MakeSite) -> Site:
    return make_site(request.param)


def race_of_processes(site: Site, job_id: str, methods: list[str], turns: int) -> list[list[str]]:
    processes = [site.start_worker(RACER, job_id, method, str(turns)) for method in methods]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [json.loads(finish(process)) for process in processes]


@pytest.mark.slow
def test_processes__reports_leave_no_gap(raced: Site) -> None:
    raced.worker(PREPARE, "job-1")
    outcomes = race_of_processes(raced, "job-1", ["mark_progress"] * 3, 100)
    assert outcomes == [["ok"] * 100] * 3
    events = raced.events("job-1")
    assert [event["seq"] for event in events] == list(range(1, 303))
    assert raced.job("job-1")["seq"] == 302
    assert raced.job("job-1")["message"] == events[-1]["message"]


@pytest.mark.slow
def test_processes__of_several_endings_one_succeeds(raced: Site) -> None:
    raced.worker(PREPARE, "job-1")
    methods = ["mark_completed", "mark_failed", "mark_cancelled"]
    outcomes = race_of_processes(raced, "job-1", methods, 1)
    assert sorted(outcomes) == [["InvalidTransition"]] * 2 + [["ok"]]
    winner = methods[outcomes.index(["ok"])]
    assert raced.job("job-1")["status"] == winner.removeprefix("mark_")
    assert [event["seq"] for event in raced.events("job-1")] == [1, 2, 3]


@pytest.mark.slow
def test_processes__an_ending_beside_reports_is_the_last_event(raced: Site) -> None:
    raced.worker(PREPARE, "job-1")
    reports, endings = race_of_processes(raced, "job-1", ["mark_progress", "mark_completed"], 1)
    assert endings == ["ok"]
    assert reports in (["ok"], ["InvalidTransition"])
    events = raced.events("job-1")
    assert events[-1]["status"] == "completed"
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
