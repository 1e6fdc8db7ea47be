import pickle

import pytest

from jobs.reporting import Job, Reporter
from tests.jobs.reporting.reported import stored

pytestmark = pytest.mark.django_db


def test_job__is_made_and_its_loop_is_a_run() -> None:
    job = Job.create("job-1", public=True)
    assert list(job.track(["a", "b"], unit="rows")) == ["a", "b"]
    assert (stored().status, stored().metadata["unit"], stored().metadata["total"]) == ("completed", "rows", 2)


def test_job__report_is_a_block() -> None:
    with Job.create("job-1").report(total=3, unit="rows") as report:
        report.advance(3)
        assert isinstance(report, Reporter)
    assert (stored().status, stored().metadata["current"]) == ("completed", 3)


def test_job__is_found_by_its_id() -> None:
    Job.create("job-1")
    with Job("job-1").report() as report:
        report.result = "found"
    assert stored().result == "found"


def test_job__travels_to_another_process() -> None:
    job = pickle.loads(pickle.dumps(Job.create("job-1")))
    assert isinstance(job, Job)
    assert list(job.track([1])) == [1]
