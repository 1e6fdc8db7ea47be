"""The commands: what they say and what they do."""

import signal
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from jobs.models import JobEvent, ProcessingJob
from jobs.retention import pace
from jobs.retention.lease import LeaseHolder
from tests.jobs.retention.conftest import age, lengthen

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PAUSE_SECONDS", 0)
    monkeypatch.setattr(pace, "REST", 0)


def said(*arguments: str) -> str:
    out = StringIO()
    call_command(*arguments, stdout=out)
    return out.getvalue()


def some_jobs(make_job: Any) -> None:
    for number, status in enumerate(("completed", "completed", "failed", "in_progress")):
        make_job(f"job-{number}", status=status)
        age(40 - number, f"job-{number}")


def test_prune_jobs__by_age(make_job: Any) -> None:
    some_jobs(make_job)
    assert said("prune_jobs", "--older-than=38.5").startswith("Deleted 2 jobs in ")
    assert said("prune_jobs", "--older-than=12h").startswith("Deleted 1 job in ")
    assert ProcessingJob.stored.get().pk == "job-3"


def test_prune_jobs__dry_run_says_what_would_go(make_job: Any) -> None:
    some_jobs(make_job)
    first, last = (ProcessingJob.objects.get(pk=f"job-{number}").finished_at for number in (0, 2))
    assert said("prune_jobs", "--older-than=30d", "--dry-run") == (
        f"Would delete 3 jobs (2 completed, 1 failed), which ended from {first:%Y-%m-%d} to {last:%Y-%m-%d}. "
        "Nothing was deleted.\n"
    )
    assert said("prune_jobs", "--older-than=90d", "--dry-run") == "Would delete 0 jobs. Nothing was deleted.\n"
    assert ProcessingJob.objects.count() == 4


def test_prune_jobs__by_status_and_number(make_job: Any) -> None:
    some_jobs(make_job)
    assert said("prune_jobs", "--keep-latest=1", "--status=completed").startswith("Deleted 1 job in ")
    assert sorted(ProcessingJob.objects.values_list("pk", flat=True)) == ["job-1", "job-2", "job-3"]


def test_prune_jobs__takes_large_jobs_wholly(make_job: Any) -> None:
    make_job("large", status="completed")
    lengthen("large", 2_500)
    said("prune_jobs", "--older-than=0")
    assert not ProcessingJob.stored.exists()
    assert not JobEvent.objects.exists()


def test_prune_jobs__by_the_settings(make_job: Any, settings: Any) -> None:
    some_jobs(make_job)
    with pytest.raises(CommandError, match="Nothing says which jobs may go"):
        said("prune_jobs")
    settings.JOBS_KEEP_COUNT = 2
    assert said("prune_jobs").startswith("Deleted 1 job in ")


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--older-than=soon", "'soon' is no age; write 30d, 12h or 45m."),
        ("--older-than=-1", "'-1' is no age"),
        ("--older-than=nan", "'nan' is no age"),
        ("--keep-latest=-1", "'-1' is no number of jobs."),
        ("--status=pending", "invalid choice"),
        ("--status=failed", "--status needs"),
    ],
)
def test_prune_jobs__what_is_wrong(argument: str, words: str) -> None:
    with pytest.raises(CommandError, match=words):
        said("prune_jobs", argument)


@pytest.mark.postgres
def test_prune_jobs__vacuum_is_for_sqlite() -> None:
    with pytest.raises(CommandError, match="VACUUM FULL"):
        said("prune_jobs", "--older-than=1", "--vacuum")


def test_delete_job__of_any_size(make_job: Any) -> None:
    make_job("small")
    make_job("large", status="in_progress")
    lengthen("large", 2_500)
    assert said("delete_job", "small", "large") == "Deleted job 'small'.\nDeleted job 'large'.\n"
    assert not ProcessingJob.stored.exists()


def test_delete_job__that_is_not_there(make_job: Any) -> None:
    make_job("job-1")
    errors = StringIO()
    with pytest.raises(CommandError, match="2 of 3 could not be deleted"):
        call_command("delete_job", "other", "job-1", "no id", stdout=StringIO(), stderr=errors)
    assert "There is no job 'other'." in errors.getvalue()
    assert not ProcessingJob.objects.exists()


def test_delete_job__that_another_table_protects(make_job: Any, protected: str) -> None:
    make_job(protected)
    errors = StringIO()
    with pytest.raises(CommandError, match="1 of 1"):
        call_command("delete_job", protected, stderr=errors)
    assert "an invoice refers to it" in errors.getvalue()


def test_housekeeping__once(large: Any) -> None:
    large.delete()
    assert said("housekeeping", "--once") == ""
    assert not ProcessingJob.stored.exists()
    LeaseHolder("housekeeping").take()
    assert "another process does it now" in said("housekeeping", "--once")


def test_housekeeping__leaves_the_handlers_of_signals_as_they_were(transactional_db: None) -> None:
    kinds = signal.SIGINT, signal.SIGTERM
    before = [signal.getsignal(kind) for kind in kinds]
    said("housekeeping", "--once")
    assert [signal.getsignal(kind) for kind in kinds] == before
