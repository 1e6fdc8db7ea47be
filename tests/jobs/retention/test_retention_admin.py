"""Keeping and deleting in the admin: what a page asks, who may, and how much of the database it looks at."""

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from jobs.actors import Actor
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobAction, JobEvent, ProcessingJob
from jobs.retention import retention_admin
from tests.jobs.admin_pages import ADD, LIST, detail, page, staff
from tests.jobs.retention.conftest import lengthen

pytestmark = pytest.mark.django_db(transaction=True)

DELETE = f"{LIST}large/delete/"


def act(client: Client, action: str, *job_ids: str, **fields: str) -> list[str]:
    answer = client.post(LIST, {"action": action, "_selected_action": job_ids, **fields})
    return [str(message) for message in get_messages(answer.wsgi_request)]


def test_delete__asks_with_counts_only(large: ProcessingJobLifecycle) -> None:
    client = staff("view", "delete")
    assert "deletelink" in page(client, detail("large"))
    with CaptureQueriesContext(connection) as queries:
        text = page(client, DELETE)
    assert "Job &#x27;large&#x27;" in text
    assert "2,500 at most" in text
    assert not [query for query in queries if JobEvent._meta.db_table in query["sql"]]


def test_delete__of_a_large_job(large: ProcessingJobLifecycle, told: list[str]) -> None:
    client = staff("view", "delete")
    answer = client.post(DELETE, {"post": "yes"})
    assert (answer.status_code, answer["Location"]) == (302, LIST)
    assert told == ["large"]
    assert client.get(detail("large")).status_code == 302  # to the list, which says that there is none
    page(client, LIST)  # shows that once
    assert "large" not in page(client, LIST)
    assert LogEntry.objects.get().is_deletion()


def test_delete__of_many_has_a_message_for_each(make_job: Any, told: list[str], monkeypatch: Any) -> None:
    monkeypatch.setattr(retention_admin, "NAMES_SHOWN", 2)
    for name in ("a", "b", "c", "other"):
        make_job(name)
    client = staff("view", "delete")
    asked = client.post(LIST, {"action": "delete_selected", "_selected_action": ["a", "b", "c"]}).content.decode()
    assert "1 more" in asked
    assert len(told) == 0
    messages = act(client, "delete_selected", "a", "b", "c", post="yes")
    assert sorted(messages) == ["Job 'a': deleted.", "Job 'b': deleted.", "Job 'c': deleted."]
    assert sorted(told) == ["a", "b", "c"]
    assert ProcessingJob.stored.get().pk == "other"
    assert LogEntry.objects.count() == 3


@pytest.mark.parametrize("permissions", [["view"], ["view", "change", "add"]])
def test_delete__is_for_those_who_may(large: ProcessingJobLifecycle, permissions: list[str]) -> None:
    client = staff(*permissions)
    assert "deletelink" not in page(client, detail("large"))
    assert client.post(DELETE, {"post": "yes"}).status_code == 403
    act(client, "delete_selected", "large", post="yes")
    assert ProcessingJob.objects.exists()


def test_delete__of_what_the_policy_hides(large: ProcessingJobLifecycle) -> None:
    """Django's permission to delete jobs shows nobody a job."""
    assert staff("delete").post(DELETE, {"post": "yes"}).status_code == 302
    assert ProcessingJob.objects.exists()


def test_delete__of_what_another_table_protects(make_job: Any, protected: str) -> None:
    make_job(protected)
    make_job("other")
    client = staff("view", "delete")
    assert "an invoice refers to it" in page(client, f"{LIST}protected/delete/")
    act(client, "delete_selected", "protected", "other", post="yes")
    assert ProcessingJob.objects.count() == 2


def test_delete__by_two_at_once(large: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    client = staff("view", "delete")
    delete = ProcessingJobLifecycle.delete

    def second(self: Any, **who: Any) -> None:
        delete(self, **who)
        delete(self, **who)

    monkeypatch.setattr(ProcessingJobLifecycle, "delete", second)
    assert client.post(DELETE, {"post": "yes"}).status_code == 302


def test_keep__and_let_go(make_job: Any) -> None:
    make_job("job-1")
    client = staff("view", "change")
    assert act(client, "keep_jobs", "job-1") == ["Job 'job-1': kept for good."]
    assert ProcessingJob.objects.get().keep
    assert act(client, "let_go", "job-1")[-1] == "Job 'job-1': goes when it is old, like others."
    assert not ProcessingJob.objects.get().keep


def test_add__a_job_to_keep() -> None:
    staff("view", "add").post(ADD, {"id": "job-1", "name": "", "metadata": "{}", "keep": "on"})
    assert ProcessingJob.objects.get().keep


def test_list__counts_no_events(make_job: Any) -> None:
    make_job("job-1")
    lengthen("job-1", 50)
    with CaptureQueriesContext(connection) as queries:
        page(staff("view", "delete"), LIST)
    assert not [query for query in queries if JobEvent._meta.db_table in query["sql"]]


def test_delete__is_kept_with_who_did_it(large: ProcessingJobLifecycle) -> None:
    large.edit(name="Import of March", by=Actor.command("manage"))
    staff("view", "delete").post(DELETE, {"post": "yes"})
    renamed, deleted = JobAction.objects.order_by("id")
    assert (renamed.who, renamed.detail) == ("command manage", "name: '' → 'Import of March'")
    assert (deleted.action, deleted.kind, deleted.job_id, deleted.detail) == (
        "delete",
        "user",
        "large",
        "Import of March",
    )
    assert deleted.user is not None
    assert deleted.actor == deleted.user.get_username()
