"""``manage.py recover_stalled``, and what the admin says of a worker."""

from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError

from jobs.leases import Worker
from jobs.management.commands import recover_stalled
from jobs.models import ProcessingJob
from jobs.recovery import sweep
from jobs.recovery.worker_admin import worker_in_words
from tests.jobs.records import row
from tests.jobs.recovery.lost import DEAD, begin, find, silence

pytestmark = pytest.mark.django_db(transaction=True)


def recover() -> str:
    out = StringIO()
    call_command("recover_stalled", stdout=out)
    return out.getvalue()


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "LATE_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(sweep, "LATE_SECONDS", 0.1)
    monkeypatch.setattr(sweep, "GRACE_SECONDS", 0.1)


@pytest.mark.usefixtures("_quick")
def test_command__goes_on_until_nothing_is_left(settings: Any) -> None:
    settings.JOBS_KINDS = {"left": {"recovery": "leave"}}
    begin("job-1")
    begin("job-2", kind="left")
    silence()
    assert recover() == "3 changes of jobs whose worker was lost.\n"
    assert (row("job-1")["status"], row("job-2")["status"]) == ("failed", "in_progress")
    assert recover() == "0 changes of jobs whose worker was lost.\n"


def test_command__forgets_workers_that_have_left_no_job() -> None:
    """Nobody else would, where no housekeeping runs."""
    silence(seconds=sweep.KEEP_SECONDS + 1)
    recover()
    assert not Worker.objects.exists()


def test_command__ends_at_once_where_all_live() -> None:
    begin("job-1")
    silence(seconds=-10)
    assert recover() == "0 changes of jobs whose worker was lost.\n"


def test_command__says_that_the_database_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> None:
        raise OperationalError("no route")

    monkeypatch.setattr(recover_stalled, "look", away)
    with pytest.raises(CommandError, match="The database does not answer: no route"):
        recover()


def words() -> str:
    return worker_in_words(ProcessingJob.objects.get())


def test_admin__says_who_runs_it(make_job: Any) -> None:
    job = begin("job-1")
    assert words() == DEAD, "its row is lost"
    silence(seconds=-10)
    assert words() == "host:7"
    job.mark_completed()
    assert words() == "-"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "failed at "),
        ({"recovery": "requeue"}, "queued again at "),
        ({"recovery": "leave"}, "left as it is"),
    ],
)
def test_admin__says_what_will_be_done(settings: Any, options: dict[str, Any], expected: str) -> None:
    settings.JOBS_KINDS = {"*": options}
    begin("job-1")
    silence()
    find()
    assert words().startswith("host:7 — stalled: no sign of life since ")
    assert f"; the job will be {expected}" in words()
    assert words().endswith(", as attempt 2 of 3") is (options.get("recovery") == "requeue")
    mark = row("job-1")["metadata"]["stalled"]
    assert datetime.fromisoformat(mark["since"]).isoformat(sep=" ", timespec="milliseconds") in words()


@pytest.mark.parametrize("mark", [7, {"then": "fail"}, {"since": 3, "then": "leave"}])
def test_admin__a_mark_that_makes_no_sense(mark: Any) -> None:
    begin("job-1")
    Worker.objects.create(pk=DEAD, name="host:7", until=row("job-1")["started_at"])
    ProcessingJob.objects.update(metadata={"stalled": mark})
    assert words() == "host:7"
