"""A connection that is lost around the COMMIT of a deletion: nothing goes twice, or by half."""

from typing import Any

import pytest

from jobs import database
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobAction, JobEvent, ProcessingJob
from jobs.retention.pruning import Retention, prune
from tests.jobs.cuts import cut, in_thread
from tests.jobs.retention.conftest import age, lengthen

pytestmark = [pytest.mark.postgres, pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("_age")]


@pytest.mark.parametrize("events", [3, 1_500])
@pytest.mark.parametrize("moment", ["at commit", "after commit"])
def test_delete__is_done_and_kept_once(make_job: Any, told: list[str], moment: str, events: int) -> None:
    make_job("job-1")
    lengthen("job-1", events)
    with cut(moment):
        ProcessingJobLifecycle("job-1").delete()
    assert not ProcessingJob.objects.exists()
    assert JobAction.objects.count() == 1
    assert told == ["job-1"]


def test_delete__of_a_job_that_was_made_again_at_once_was_done(
    make_job: Any, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for the deletion had never heard of the later job."""
    make_job("job-1", name="first")
    is_lost = database.is_lost

    def then_made_again(*arguments: Any) -> bool:
        in_thread(lambda: ProcessingJobLifecycle.create("job-1", name="second") and None)
        return is_lost(*arguments)

    with cut("after commit"):
        monkeypatch.setattr(database, "is_lost", then_made_again)
        ProcessingJobLifecycle("job-1").delete()
    assert ProcessingJob.objects.get().name == "second"
    assert JobAction.objects.count() == 1


@pytest.mark.parametrize("jobs", [1, 3])
@pytest.mark.parametrize("moment", ["at commit", "after commit"])
def test_prune__is_done_whole(make_job: Any, told: list[str], moment: str, jobs: int) -> None:
    ids = [f"job-{number}" for number in range(jobs)]
    for job_id in ids:
        make_job(job_id, status="completed")
    age(10, *ids)
    with cut(moment):
        list(prune(Retention({"completed": 1})))
    assert not ProcessingJob.stored.exists()
    assert not JobEvent.objects.exists()
    assert None not in told
    if moment == "at commit":
        assert sorted(told) == ids
