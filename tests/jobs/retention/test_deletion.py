"""Deletion: one call, and nobody finds the job any more, however long its log takes to go."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection, transaction
from django.db.models import ProtectedError
from django.db.models.signals import post_delete, pre_delete
from django.test.utils import CaptureQueriesContext

from jobs import access, selectors
from jobs.exceptions import DuplicateJob, JobNotFound
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.retention import deletion
from jobs.retention.pruning import Retention, prune
from tests.jobs.retention.conftest import age, lengthen

pytestmark = pytest.mark.django_db(transaction=True)


def finish() -> list[int]:
    """Delete what is left, and return the size of each batch."""
    return [events for job_id in deletion.left(connection) for events in deletion.delete_left(connection, job_id)]


def test_delete__a_small_job_goes_at_once(make_job: Any, told: list[str]) -> None:
    make_job("job-1", status="completed")
    other = make_job("other")
    ProcessingJobLifecycle("job-1").delete()
    assert list(ProcessingJob.stored.values_list("pk", flat=True)) == ["other"]
    assert set(JobEvent.objects.values_list("job", flat=True)) == {"other"}
    assert told == ["job-1"]
    other.mark_started()


def test_delete__a_large_job_is_gone_for_whoever_asks(large: ProcessingJobLifecycle, told: list[str]) -> None:
    root = User.objects.create_superuser("root")
    head = selectors.heads(["large"])["large"]
    large.delete()
    assert told == ["large"]
    assert not ProcessingJob.objects.exists()
    assert not selectors.get_jobs(["large"])
    assert not selectors.heads(["large"])
    assert not selectors.recent_jobs(root, 10)
    assert not selectors.events_between({"large": selectors.Span(head.epoch, 0, 2_500)})["large"]
    assert access.viewable({root: ["large"]}).popitem()[1][0] == set()
    with pytest.raises(JobNotFound):
        ProcessingJobLifecycle("large").edit(name="other")
    assert ProcessingJob.stored.get().pk == "large"  # or the test would say nothing


def test_delete__rows_go_in_batches(large: ProcessingJobLifecycle) -> None:
    large.delete()
    batch = deletion.BATCH_EVENTS.get(connection.vendor, deletion.DEFAULT_BATCH_EVENTS)
    lengthen_marked(2 * batch + 500)
    assert finish() == [batch, batch, 500]
    assert not ProcessingJob.stored.exists()
    assert not JobEvent.objects.exists()


def lengthen_marked(events: int) -> None:
    last = JobEvent.objects.latest("seq")
    JobEvent.objects.bulk_create(
        JobEvent(job_id=last.job_id, seq=seq, kind="tick", status="in_progress", timestamp=last.timestamp)
        for seq in range(last.seq + 1, events + 1)
    )


def test_delete__what_was_begun_goes_on(large: ProcessingJobLifecycle) -> None:
    large.delete()
    next(deletion.delete_left(connection, "large"))  # and then the process ended
    finish()
    assert not ProcessingJob.stored.exists()
    assert not JobEvent.objects.exists()


@pytest.mark.parametrize("events", [3, 1_500])
def test_delete__the_worker_hears_at_its_next_report(make_job: Any, events: int) -> None:
    worker = make_job("job-1", status="in_progress")
    worker.mark_progress(1)
    lengthen("job-1", events)
    worker.mark_progress(2)
    elsewhere = pickle.loads(pickle.dumps(worker))
    ProcessingJobLifecycle("job-1").delete()
    for one in worker, elsewhere:
        for _ in range(2):
            with pytest.raises(JobNotFound):
                one.mark_progress(3)
    with pytest.raises(JobNotFound):
        ProcessingJobLifecycle("job-1").delete()


def test_delete__rolled_back_changes_nothing(large: ProcessingJobLifecycle, told: list[str]) -> None:
    large.mark_progress(1)
    with transaction.atomic():
        ProcessingJobLifecycle("large").delete()
        transaction.set_rollback(True)
    large.mark_progress(2)
    assert not told


def test_delete__another_job_of_the_id_stays(make_job: Any) -> None:
    first = make_job("job-1")
    ProcessingJobLifecycle("job-1").delete()
    make_job("job-1")
    with pytest.raises(JobNotFound):
        first.delete()
    assert ProcessingJob.objects.exists()


def test_delete__the_id_is_taken_until_the_log_is_gone(large: ProcessingJobLifecycle) -> None:
    large.delete()
    with pytest.raises(DuplicateJob, match="still being deleted") as caught:
        ProcessingJobLifecycle.create("large")
    assert "still being deleted" in str(pickle.loads(pickle.dumps(caught.value)))
    finish()
    ProcessingJobLifecycle.create("large")


def test_delete__events_are_never_loaded_whatever_listens(large: ProcessingJobLifecycle, make_job: Any) -> None:
    """Many an app listens to deletions of all models, upon which Django would load each row."""

    def receive(sender: type, **_: Any) -> None:
        assert sender is not JobEvent

    make_job("small")
    pre_delete.connect(receive)
    try:
        with CaptureQueriesContext(connection) as queries:
            large.delete()
            ProcessingJobLifecycle("small").delete()
            finish()
    finally:
        pre_delete.disconnect(receive)
    table = JobEvent._meta.db_table
    assert not [query["sql"] for query in queries if f'SELECT "{table}"."id", "{table}"."job_id"' in query["sql"]]


@pytest.mark.parametrize("events", [3, 1_500])
def test_delete__what_another_table_protects_is_refused_at_once(
    make_job: Any, protected: str, told: list[str], events: int
) -> None:
    """Nor is it marked, and found to be protected when all of its events are gone."""
    make_job(protected, status="in_progress")
    lengthen(protected, events)
    with pytest.raises(ProtectedError):
        ProcessingJobLifecycle(protected).delete()
    ProcessingJobLifecycle(protected).mark_progress(5)
    assert (JobEvent.objects.count(), told) == (events + 1, [])


def test_delete__by_others_is_announced(make_job: Any, told: list[str]) -> None:
    make_job("job-1").job.delete()
    make_job("job-2")
    ProcessingJob.objects.all().delete()
    assert told == ["job-1", "job-2"]


def test_delete__of_an_owner_leaves_the_jobs(large: ProcessingJobLifecycle, make_job: Any) -> None:
    """Those that are being deleted as well: the database would refuse, if they were forgotten."""
    owner = User.objects.create(username="ann")
    make_job("job-1", owner=owner)
    large.edit(owner=owner)
    large.delete()
    owner.delete()
    assert set(ProcessingJob.stored.values_list("pk", "owner")) == {("job-1", None), ("large", None)}


def test_delete__a_dump_of_all_can_be_loaded_meanwhile(large: ProcessingJobLifecycle, tmp_path: Path) -> None:
    large.delete()
    dump = str(tmp_path / "jobs.json")
    call_command("dumpdata", "jobs", use_base_manager=True, output=dump)
    call_command("flush", interactive=False, verbosity=0)
    call_command("loaddata", dump, verbosity=0)
    assert deletion.left(connection) == ["large"]
    assert JobEvent.objects.count() == 2_500


async def test_adelete__is_the_same(make_job: Any, told: list[str]) -> None:
    lifecycle = await ProcessingJobLifecycle.acreate("job-1")
    await lifecycle.adelete()
    assert told == ["job-1"]


def test_delete_left__of_an_id_that_is_another_job_s_by_now_touches_nothing(large: ProcessingJobLifecycle) -> None:
    """The list of what is left is read once a pass, and somebody may finish a deletion by hand meanwhile."""
    large.delete()
    ids = deletion.left(connection)
    begun = deletion.delete_left(connection, "large")
    next(begun)
    finish()
    ProcessingJobLifecycle.create("large")
    lengthen("large", 12_000)
    for events in begun, *(deletion.delete_left(connection, job_id) for job_id in ids):
        assert sum(events) == 0
    assert JobEvent.objects.count() == 12_000


@pytest.mark.parametrize("read", [("pk",), ("name", "owner")])
def test_delete__of_an_object_that_was_read_in_part(make_job: Any, told: list[str], read: tuple[str, ...]) -> None:
    for name in "abc":
        make_job(name)
    ProcessingJob.objects.only(*read).get(pk="a").delete()
    ProcessingJob.objects.only(*read).filter(pk="b").delete()
    ProcessingJob.objects.defer("deleted_at").get(pk="c").delete()
    assert told == ["a", "b", "c"]


@pytest.mark.parametrize("by", ["lifecycle", "pruning", "housekeeping"])
def test_delete__who_listens_to_deletions_may_look_at_the_job(make_job: Any, by: str) -> None:
    """Its row is gone by then, so what was not read before can't be."""
    seen: list[tuple[str, str, Any]] = []

    def receive(instance: ProcessingJob, **_: Any) -> None:
        seen.append((instance.name, instance.status, instance.owner_id))

    owner = User.objects.create(username="ann")
    make_job("job-1", status="completed", name="An import", owner=owner)
    if by == "housekeeping":
        lengthen("job-1", 1_500)
    age(10, "job-1")
    post_delete.connect(receive, sender=ProcessingJob)
    try:
        if by == "pruning":
            list(prune(Retention({"completed": 1})))
        else:
            ProcessingJobLifecycle("job-1").delete()
            finish()
    finally:
        post_delete.disconnect(receive, sender=ProcessingJob)
    assert seen == [("An import", "completed", owner.pk)]
