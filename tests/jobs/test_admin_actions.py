"""What the admin does through the lifecycle: cancel, retry, add."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.messages import get_messages
from django.db import OperationalError
from django.test import Client

from jobs import admin as jobs_admin
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from tests.jobs.admin_pages import ADD, LIST, detail, page, staff
from tests.jobs.bad_rows import of_each_that_can_not_be_shown, spoil
from tests.jobs.records import assert_whole, log, row, stored

pytestmark = pytest.mark.django_db(transaction=True)


def act(client: Client, action: str, *job_ids: str) -> list[str]:
    """Choose an action for jobs in the list; return the messages that follow."""
    answer = client.post(LIST, {"action": action, "_selected_action": job_ids})
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_cancel__each_job_tells_its_own_result(make_job: Any) -> None:
    for status in ("queued", "in_progress", "completed"):
        make_job(status, name=f"The {status}", status=status)
    done = stored("completed")
    told = act(staff("view", "change"), "cancel_jobs", "queued", "in_progress", "completed")
    assert sorted(told) == [
        "Job 'The in_progress': asked to cancel; its worker stops at its next report.",
        "Job 'The queued': cancelled.",
        "Job 'completed' is completed; it can't become cancelled.",
    ]
    assert row("queued")["status"] == "cancelled"
    assert row("in_progress")["cancel_requested_at"] is not None
    assert stored("completed") == done
    assert LogEntry.objects.count() == 2
    assert_whole("queued")
    assert_whole("in_progress")


def test_cancel__a_database_that_does_not_answer_is_said_and_not_asked_again(make_job: Any, monkeypatch: Any) -> None:
    for name in ("a", "b"):
        make_job(name)
    asked = []

    def locked(self: Any, **_: Any) -> None:
        asked.append(self.job_id)
        raise OperationalError("database is locked")

    monkeypatch.setattr(ProcessingJobLifecycle, "request_cancel", locked)
    (told,) = act(staff("view", "change"), "cancel_jobs", "a", "b")
    assert told.startswith(f"Job {asked[0]!r}: the database does not answer now.")
    assert len(asked) == 1


@of_each_that_can_not_be_shown
def test_cancel__a_bad_row_harms_itself_only(make_job: Any, bad: dict[str, Any]) -> None:
    for name in ("job-1", "bad", "job-2"):
        make_job(name, status="queued")
    spoil("bad", bad)
    told = act(staff("view", "change"), "cancel_jobs", "job-1", "bad", "job-2")
    assert {"Job 'job-1': cancelled.", "Job 'job-2': cancelled."} <= set(told)
    assert len(told) == 3


def test_cancel__the_id_is_shown_as_it_is(make_job: Any) -> None:
    make_job("adm1")
    client = staff("view", "change")
    answer = client.post(LIST, {"action": "cancel_jobs", "_selected_action": ["adm1"]}, follow=True)
    assert "Job &#x27;adm1&#x27;: cancelled." in answer.content.decode()


def test_retry__each_job_tells_its_own_result(make_job: Any) -> None:
    make_job("failed", status="failed")
    make_job("running", status="in_progress")
    told = act(staff("view", "change"), "retry_jobs", "failed", "running")
    assert sorted(told) == [
        "Job 'failed': queued again, as attempt 2.",
        "Job 'running' is in_progress; it can't become queued.",
    ]
    assert row("failed")["attempt"] == 2
    assert len(log("running")) == 2


def test_actions__of_many_jobs_tell_of_the_first(make_job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_admin, "RESULTS_SHOWN", 1)
    for name in "abc":
        make_job(name)
    assert act(staff("view", "change"), "cancel_jobs", *"abc") == [
        "Job 'c': cancelled.",
        "2 more were asked for; see the list.",
    ]


@pytest.mark.parametrize("action", ["cancel_jobs", "retry_jobs"])
def test_actions__need_the_permission_to_change(make_job: Any, action: str) -> None:
    make_job("job-1", status="failed" if action == "retry_jobs" else "queued")
    before = stored("job-1")
    client = staff("view")
    assert f'value="{action}"' not in page(client, LIST)
    act(client, action, "job-1")
    assert stored("job-1") == before
    assert f'value="{action}"' in page(staff("view", "change"), LIST)


# Never editing


def test_changes_by_hand__are_refused(make_job: Any) -> None:
    make_job("job-1", name="before")
    before = stored("job-1")
    client = staff("view", "change")
    assert client.post(detail("job-1"), {"name": "after", "status": "completed"}).status_code == 403
    assert client.post(f"{LIST}job-1/delete/", {"post": "yes"}).status_code == 403
    act(client, "delete_selected", "job-1")
    assert stored("job-1") == before


# Adding


def add(**fields: Any) -> Any:
    return staff("view", "add").post(ADD, {"id": "", "name": "", "metadata": "{}", **fields})


def test_add__through_the_lifecycle() -> None:
    owner = User.objects.create(username="ann")
    answer = add(id="job-1", name="Import", owner=owner.pk, public="on", metadata='{"rows": [1]}')
    assert answer.status_code == 302
    job = row("job-1")
    assert (job["name"], job["owner_id"], job["public"], job["status"]) == ("Import", owner.pk, True, "pending")
    assert job["metadata"] == {"rows": [1], "attempt": 1}
    assert_whole("job-1")


def test_add__without_an_id_generates_one(committed: list[Any]) -> None:
    assert add(metadata="").status_code == 302
    job = ProcessingJob.objects.get()
    assert len(job.pk) == 32
    assert [event.job_id for event in committed] == [job.pk]


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        ({"id": "a b"}, "id", "is no job id"),
        ({"id": "taken"}, "id", "exists already"),
        ({"name": "x" * 201}, "name", "at most 200 characters"),
        ({"metadata": "[1]"}, "metadata", "must be a dictionary"),
        ({"metadata": "{"}, "metadata", "Enter a valid JSON"),
        ({"metadata": '{"attempt": 3}'}, "metadata", "filled in by the lifecycle"),
        ({"metadata": '{"a": NaN}'}, "metadata", "JSON"),
        ({"owner": "999"}, "owner", "valid choice"),
    ],
)
def test_add__errors_stand_at_the_field(make_job: Any, fields: dict[str, str], field: str, words: str) -> None:
    make_job("taken")
    before = stored("taken")
    answer = add(**fields)
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert list(errors) == [field]
    assert words in str(errors[field])
    assert ProcessingJob.objects.count() == 1
    assert stored("taken") == before


def test_add__needs_the_permission() -> None:
    assert staff("view", "change").get(ADD).status_code == 403
