"""The command that compacts by hand."""

from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from jobs.management.commands import compact_jobs
from jobs.models import JobEvent
from tests.jobs.bad_rows import of_each_kind, spoil
from tests.jobs.records import log, row
from tests.jobs.retention.small_logs import _small, report  # noqa: F401  (_small is a fixture)

pytestmark = pytest.mark.django_db(transaction=True)


def compacted(*job_ids: str) -> str:
    out = StringIO()
    call_command("compact_jobs", *job_ids, stdout=out)
    return out.getvalue()


@pytest.fixture
def _two(make_job: Any) -> None:
    for job_id in "job-1", "job-2":
        lifecycle = make_job(job_id, status="in_progress")
        report(lifecycle, 30)
        lifecycle.mark_completed()
    make_job("job-3", status="in_progress")


@pytest.mark.usefixtures("_small", "_two")
def test_compact_jobs__all_that_have_ended_however_short_ago(settings: Any) -> None:
    settings.JOBS_COMPACT_SECONDS = 600
    assert compacted().startswith("Compacted the logs of 2 jobs in ")
    assert [len(log(job_id)) for job_id in ("job-1", "job-2")] == [5, 5]
    assert compacted().startswith("Compacted the logs of 0 jobs in ")


@pytest.mark.usefixtures("_small", "_two")
def test_compact_jobs__those_that_are_named() -> None:
    assert compacted("job-2").startswith("Compacted the log of 1 job in ")
    assert row("job-1")["floor"] == 0


@pytest.mark.usefixtures("_small", "_two")
def test_compact_jobs__a_job_that_is_not_there_or_runs_is_an_error() -> None:
    with pytest.raises(CommandError, match=r"No job that has ended: job-3, job-4\."):
        compacted("job-1", "job-3", "job-4")
    assert row("job-1")["floor"] == 0


@pytest.mark.usefixtures("_small", "_two")
def test_compact_jobs__stopped_by_ctrl_c(capsys: pytest.CaptureFixture[str]) -> None:
    interrupted = mock.patch.object(compact_jobs, "compact", side_effect=[True, KeyboardInterrupt])
    with interrupted, pytest.raises(SystemExit) as ended:
        call_command("compact_jobs")
    assert ended.value.code == compact_jobs.INTERRUPTED
    assert "Stopped after the log of 1 job; the next run goes on." in capsys.readouterr().err


@pytest.mark.usefixtures("_small", "_two")
@of_each_kind
def test_compact_jobs__of_a_row_that_can_t_be_shown(bad: dict[str, Any]) -> None:
    """Neither its metadata nor its percentage is needed for it; and it harms no other in any case."""
    spoil("job-1", bad)
    assert compacted().startswith("Compacted the log")
    has_ended = "status" not in bad
    assert (JobEvent.objects.filter(job_id="job-1").count() == 5) is has_ended
    assert JobEvent.objects.filter(job_id="job-2").count() == 5


@pytest.mark.usefixtures("_small", "_two")
def test_compact_jobs__of_which_one_can_t_be() -> None:
    real = compact_jobs.compact

    def fails(job_id: str) -> bool:
        if job_id == "job-1":
            raise ValueError("nonsense")
        return real(job_id)

    errors = StringIO()
    with mock.patch.object(compact_jobs, "compact", fails), pytest.raises(CommandError, match="1 of 2"):
        call_command("compact_jobs", stderr=errors)
    assert "job-1" in errors.getvalue()
    assert "nonsense" in errors.getvalue()
    assert len(log("job-2")) == 5
