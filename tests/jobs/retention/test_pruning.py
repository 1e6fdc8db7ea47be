"""Which ended jobs go, which stay, and how much goes at once."""

import threading
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction
from django.db.models.signals import post_delete
from django.test import override_settings

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from jobs.retention import deletion, pruning
from jobs.retention.pruning import Retention, check_retention, prune
from jobs.states import TERMINAL
from tests.jobs.retention.conftest import age, lengthen

pytestmark = pytest.mark.django_db(transaction=True)

ENDED = sorted(TERMINAL)


def pruned(days: Any, latest: int | None = None, statuses: Any = ()) -> list[int]:
    retention = Retention.of(days, latest, statuses)
    assert retention is not None
    return list(prune(retention))


def left() -> list[str]:
    return sorted(ProcessingJob.objects.values_list("pk", flat=True))


def test_prune__by_age(make_job: Any, told: list[str]) -> None:
    for status in ENDED:
        make_job(f"old-{status}", status=status)
        make_job(f"new-{status}", status=status)
        age(31, f"old-{status}")
        age(29, f"new-{status}")
    assert sum(pruned(30)) == 3
    assert left() == [f"new-{status}" for status in ENDED]
    assert sorted(told) == [f"old-{status}" for status in ENDED]


@pytest.mark.parametrize("status", ["pending", "queued", "in_progress"])
def test_prune__never_what_has_not_ended(make_job: Any, status: str) -> None:
    make_job("job-1", status=status)
    age(1000, "job-1")
    assert sum(pruned(1)) + sum(pruned(None, 1)) == 0
    assert left() == ["job-1"]


def test_prune__never_what_is_kept(make_job: Any) -> None:
    make_job("made", status="completed", keep=True)
    make_job("edited", status="completed").edit(keep=True)
    make_job("let-go", status="completed", keep=True).edit(keep=False)
    age(1000, "made", "edited", "let-go")
    pruned(1)
    assert left() == ["edited", "made"]


def test_prune__each_status_has_its_age(make_job: Any) -> None:
    for status in ENDED:
        make_job(status, status=status)
    age(10, *ENDED)
    pruned({"completed": 5, "failed": 15})
    assert left() == ["cancelled", "failed"]


def test_prune__only_the_statuses_that_are_asked_for(make_job: Any) -> None:
    for status in ENDED:
        make_job(status, status=status)
    age(10, *ENDED)
    pruned(5, None, ["failed"])
    assert left() == ["cancelled", "completed"]


def test_prune__all_but_the_latest(make_job: Any) -> None:
    for days in range(1, 6):
        make_job(f"job-{days}", status="completed")
        age(days, f"job-{days}")
    make_job("running", status="in_progress")
    make_job("kept", status="completed", keep=True)
    assert sum(pruned(None, 3)) == 2
    assert left() == ["job-1", "job-2", "job-3", "kept", "running"]
    assert sum(pruned(None, 3)) + sum(pruned(None, 10)) == 0


def test_prune__of_the_same_moment_as_many_as_are_asked_for(make_job: Any) -> None:
    for name in "abcde":
        make_job(name, status="completed")
    ProcessingJob.objects.update(finished_at=ProcessingJob.objects.get(pk="a").finished_at)
    assert sum(pruned(None, 2)) == 3
    assert left() == ["d", "e"]


def test_prune__what_either_keeps_is_kept(make_job: Any) -> None:
    """Of those who ask for both, none loses what one of them promises."""
    for days in range(1, 6):
        make_job(f"job-{days}", status="completed")
        age(days, f"job-{days}")
    assert sum(pruned(2.5, 4)) == 1
    assert sum(pruned(2.5, 1)) == 2
    assert left() == ["job-1", "job-2"]


def test_prune__batches_are_bounded_by_jobs_and_by_events(make_job: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(pruning, "BATCH_JOBS", 3)
    names = [f"job-{number}" for number in range(8)]
    for number, name in enumerate(names):
        make_job(name, status="completed")
        age(100 - number, name)
    lengthen("job-3", 600)
    lengthen("job-4", 600)
    assert pruned(1) == [3, 1, 3, 1]


def test_prune__a_large_job_goes_by_itself(make_job: Any, told: list[str]) -> None:
    for days, name in enumerate("cba", 5):
        make_job(name, status="completed")
        age(days, name)
    lengthen("b", 3_000)
    assert pruned(1) == [1, 1, 1]
    assert (left(), told) == ([], ["a", "b", "c"])
    assert ProcessingJob.stored.get().pk == "b"


def test_prune__what_is_behind_a_floor_counts_by_what_is_there(make_job: Any) -> None:
    """The `seq` of a compacted job is high, and its events are few."""
    for name in "abc":
        make_job(name, status="completed")
        age(10, name)
    ProcessingJob.objects.update(seq=1_000_000)
    assert pruned(1) == [3]
    assert not ProcessingJob.stored.exists()


def test_prune__a_retry_in_between_wins(make_job: Any, monkeypatch: Any) -> None:
    for name in ("job-1", "job-2"):
        make_job(name, status="cancelled")
        age(10, name)
    size = deletion.size

    def retried_meanwhile(connection: Any, job: ProcessingJob) -> int:
        if job.pk == "job-1" and ProcessingJob.objects.get(pk="job-1").status == "cancelled":
            ProcessingJobLifecycle("job-1").retry()
        return size(connection, job)

    monkeypatch.setattr(deletion, "size", retried_meanwhile)
    assert pruned(1) == [1]
    assert left() == ["job-1"]
    ProcessingJobLifecycle("job-1").mark_started()


def test_prune__what_another_table_protects_stays_and_harms_no_other(make_job: Any, protected: str) -> None:
    for days, name in enumerate(("a", protected, "z"), 5):
        make_job(name, status="completed")
        age(days, name)
    assert pruned(1) == [2]
    assert left() == [protected]


@pytest.mark.postgres
def test_prune__passes_over_what_somebody_is_writing(make_job: Any) -> None:
    for name in ("job-1", "job-2"):
        make_job(name, status="cancelled")
        age(10, name)
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            ProcessingJobLifecycle("job-1").retry()
            held.set()
            done.wait(10)
        connections.close_all()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    assert pruned(1) == [1]
    done.set()
    thread.join()
    assert left() == ["job-1"]


def test_prune__goes_on_behind_what_stays(make_job: Any, monkeypatch: Any) -> None:
    """Jobs that somebody holds, or that another table protects, are not looked at again for each batch."""
    monkeypatch.setattr(pruning, "BATCH_JOBS", 2)
    monkeypatch.setattr(deletion, "delete_locked", lambda *_: None)
    for number in range(4):
        make_job(f"job-{number}", status="completed")
    ProcessingJob.objects.update(finished_at=ProcessingJob.objects.latest("created_at").created_at)
    age(10, "job-3")
    assert pruned(0) == [2, 2]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOBS_KEEP_DAYS", 0),
        ("JOBS_KEEP_DAYS", True),
        ("JOBS_KEEP_DAYS", "30"),
        ("JOBS_KEEP_DAYS", {}),
        ("JOBS_KEEP_DAYS", {"running": 3}),
        ("JOBS_KEEP_DAYS", {"failed": None}),
        ("JOBS_KEEP_DAYS", float("nan")),
        ("JOBS_KEEP_COUNT", 0),
        ("JOBS_KEEP_COUNT", 2.5),
        ("JOBS_KEEP_COUNT", True),
    ],
)
def test_check__says_what_is_wrong(name: str, value: Any) -> None:
    with override_settings(**{name: value}):
        (problem,) = check_retention()
    assert name in problem.msg


@pytest.mark.parametrize("days", [None, 30, 0.5, {"failed": 30, "completed": 0.5}])
def test_check__what_is_right(days: Any) -> None:
    with override_settings(JOBS_KEEP_DAYS=days, JOBS_KEEP_COUNT=1000):
        assert not check_retention()
        assert (Retention.of_settings() or Retention({})).latest == 1000


def test_settings__keep_all_by_default() -> None:
    assert Retention.of_settings() is None


def test_prune__uses_an_index(make_job: Any) -> None:
    """Of a table whose jobs are mostly to stay, only the old ones are read."""
    make_job("job-1", status="completed")
    retention = Retention.of({"completed": 30, "failed": 90}, None)
    assert retention is not None
    plan = retention.prunable(connection).order_by("finished_at", "pk")[:100].explain()
    if connection.vendor == "sqlite":
        assert "USING INDEX job_finished" in plan


def test_prune__what_only_the_database_protects_stays_and_harms_no_other(make_job: Any) -> None:
    """A foreign key that Django knows nothing of, or shall do nothing about, is checked at the COMMIT."""
    for days, name in enumerate("abc", 5):
        make_job(name, status="completed")
        age(days, name)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE invoice (job varchar(64) REFERENCES jobs_processingjob (id) DEFERRABLE INITIALLY DEFERRED)"
        )
        cursor.execute("INSERT INTO invoice VALUES ('b')")
    try:
        assert sum(pruned(1)) == 2
        assert left() == ["b"]
        assert ProcessingJobLifecycle("b").job.events.exists()
        with pytest.raises(CommandError):
            call_command("delete_job", "b", stderr=StringIO())
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE invoice")


def test_prune__an_edit_is_no_later_end(make_job: Any) -> None:
    """Who renames a job, or shows it to all, keeps it no longer, nor lets another go in its place."""
    for days in (1, 2, 3):
        make_job(f"job-{days}", status="completed")
        age(days, f"job-{days}")
    ProcessingJobLifecycle("job-3").edit(name="another", public=True)
    assert sum(pruned(None, 2)) == 1
    assert left() == ["job-1", "job-2"]
    ProcessingJobLifecycle("job-2").edit(name="another")
    assert sum(pruned(1.5)) == 1
    assert left() == ["job-1"]


def test_prune__what_a_receiver_of_the_host_s_refuses_harms_no_other(make_job: Any) -> None:
    def receive(instance: ProcessingJob, **_: Any) -> None:
        if instance.pk == "b":
            raise ValueError("not this one")

    for days, name in enumerate("abc", 5):
        make_job(name, status="completed")
        age(days, name)
    post_delete.connect(receive, sender=ProcessingJob)
    try:
        with pytest.raises(RuntimeError, match=r"job b: .*not this one"):
            pruned(1)
        with pytest.raises(CommandError, match=r"^Deleted 0 jobs\. job b: .*not this one"):
            call_command("prune_jobs", "--older-than=1d")
    finally:
        post_delete.disconnect(receive, sender=ProcessingJob)
    assert left() == ["b"]
    assert ProcessingJobLifecycle("b").job.events.exists()
