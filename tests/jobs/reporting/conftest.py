import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import run
from tests.jobs.reporting.reported import MakeJob


@pytest.fixture
def _every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "report_seconds", lambda: 0.0)


@pytest.fixture
def job(make_job: MakeJob) -> ProcessingJobLifecycle:
    return make_job("job-1")
