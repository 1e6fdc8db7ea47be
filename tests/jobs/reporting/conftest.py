import pytest

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import reporter
from tests.jobs.reporting.reported import MakeJob


@pytest.fixture
def _every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "MIN_INTERVAL", 0.0)


@pytest.fixture
def job(make_job: MakeJob) -> ProcessingJobLifecycle:
    return make_job("job-1")
