"""The command that compacts by hand."""

from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from jobs.management.commands import compact_jobs
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
