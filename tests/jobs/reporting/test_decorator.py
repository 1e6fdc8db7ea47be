from typing import Any

import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Job, Reporter, reported
from tests.jobs.records import row
from tests.jobs.reporting.reported import stored

pytestmark = pytest.mark.django_db


def test_reported__runs_the_job_and_keeps_what_is_returned() -> None:
    @reported(unit="rows")
    def import_rows(report: Reporter, rows: list[str], *, limit: int) -> dict[str, int]:
        """Import rows."""
        for _ in report.track(rows[:limit]):
            pass
        return {"rows": limit}

    assert import_rows(Job.create("job-1"), ["a", "b", "c"], limit=2) == {"rows": 2}
    assert import_rows.__doc__ == "Import rows."
    done = stored()
    assert (done.status, done.result) == ("completed", {"rows": 2})
    assert done.metadata.items() >= {"unit": "rows", "current": 2}.items()


def test_reported__without_arguments_by_the_jobs_id() -> None:
    @reported
    def work(report: Reporter) -> None:
        report.advance()

    Job.create("job-1")
    work("job-1")
    assert (stored().status, stored().result) == ("completed", None)


def test_reported__a_result_that_the_function_has_set_is_left() -> None:
    @reported
    def work(report: Reporter) -> list[int]:
        report.result = "three"
        return [1, 2, 3]

    assert work(Job.create("job-1")) == [1, 2, 3]
    assert stored().result == "three"


def test_reported__what_is_no_json_is_returned_all_the_same() -> None:
    @reported
    def work(report: Reporter) -> object:
        return made

    made = object()
    assert work(Job.create("job-1")) is made
    assert stored().result.startswith("(not stored")


def test_reported__an_exception_passes_and_a_cancellation_does_not() -> None:
    @reported
    def work(report: Reporter, error: Any = None) -> str:
        if error is not None:
            raise error
        report.lifecycle.request_cancel()
        report.flush()
        raise AssertionError("it goes on")

    assert work(Job.create("job-1")) is None
    assert stored().status == "cancelled"
    with pytest.raises(ValueError, match="no"):
        work(Job.create("job-2"), ValueError("no"))
    assert Job("job-2").job.status == "failed"


@pytest.mark.django_db(transaction=True)
async def test_reported__asynchronous_function() -> None:
    @reported(unit="pages")
    async def fetch(report: Reporter, pages: list[int]) -> int:
        async for _ in report.atrack(pages):
            pass
        return len(pages)

    job = await Job.acreate("job-1")
    assert await fetch(job, [1, 2]) == 2
    assert (job.job.status, job.job.result) == ("completed", 2)


def test_reported__refuses_generators() -> None:
    def items(report: Reporter) -> Any:
        yield 1

    async def aitems(report: Reporter) -> Any:
        yield 1

    for function in (items, aitems):
        with pytest.raises(TypeError, match="generator"):
            reported(function)


def test_reported__tells_a_kind_unless_the_job_has_one(job: ProcessingJobLifecycle) -> None:
    @reported
    def work(report: Reporter) -> None:
        """Do nothing."""

    work(job)
    assert row("job-1")["kind"].endswith("test_reported__tells_a_kind_unless_the_job_has_one.<locals>.work")
    work(ProcessingJobLifecycle.create("job-2", kind="imports"))
    assert row("job-2")["kind"] == "imports"
    ProcessingJobLifecycle.create("job-3", kind="imports")
    reported(kind="exports")(work.__wrapped__)("job-3")  # type: ignore[attr-defined]
    assert row("job-3")["kind"] == "exports"
