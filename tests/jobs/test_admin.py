"""The admin of jobs: shows, never edits, and acts through the lifecycle."""

import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.db import OperationalError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from jobs import admin as jobs_admin
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from tests.jobs.bad_rows import of_each_kind, of_each_that_can_not_be_shown, spoil
from tests.jobs.records import assert_whole, log, row, stored

pytestmark = pytest.mark.django_db(transaction=True)

LIST = "/admin/jobs/processingjob/"
ADD = f"{LIST}add/"


def detail(job_id: str) -> str:
    return f"{LIST}{job_id}/change/"


def staff(*permissions: str) -> Client:
    user = User.objects.create(username=f"staff-{User.objects.count()}", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=[f"{name}_processingjob" for name in permissions]))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, action: str, *job_ids: str) -> list[str]:
    """Choose an action for jobs in the list; return the messages that follow."""
    answer = client.post(LIST, {"action": action, "_selected_action": job_ids})
    return [str(message) for message in get_messages(answer.wsgi_request)]


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


# Showing


def test_list__badge_bar_and_owner(make_job: Any) -> None:
    owner = User.objects.create(username="ann")
    lifecycle = make_job("job-1", name="Import of <March>", owner=owner, status="in_progress")
    lifecycle.mark_progress(42.5)
    text = page(staff("view"), LIST)
    assert "Import of &lt;March&gt;" in text
    assert '<span class="job-status job-status-in_progress">In progress</span>' in text
    assert '<progress max="100" value="42.5" aria-label="Progress"></progress> 42.5 %' in text
    assert ">ann<" in text


def test_list__unknown_progress_is_a_bar_in_motion(make_job: Any) -> None:
    make_job(status="in_progress").mark_progress(current=3)
    assert re.search(r'<progress aria-label="[^"]+"></progress>', page(staff("view"), LIST))


@pytest.mark.parametrize(
    ("report", "words"),
    [
        ({"current": 19_999, "total": 20_000}, "99.99 %"),
        ({"progress": 99.9999999}, "99.99 %"),
        ({"current": 3, "total": 3}, "100 %"),
    ],
)
def test_pages__a_hundred_percent_is_for_what_is_done(make_job: Any, report: dict[str, Any], words: str) -> None:
    make_job("job-1", status="in_progress").mark_progress(**report)
    client = staff("view")
    assert f"</progress> {words}</span>" in page(client, LIST)
    assert f"<td>{words.removesuffix(' %')}</td>" in page(client, detail("job-1"))


@pytest.mark.parametrize("status", ["pending", "queued", "failed", "cancelled"])
def test_list__unknown_progress_of_a_job_that_does_not_run_is_a_bar_at_rest(make_job: Any, status: str) -> None:
    job = make_job(status="pending" if status == "failed" else status)
    if status == "failed":
        job.mark_started()
        job.mark_progress(current=3)
        job.mark_failed()
    ProcessingJob.objects.update(progress=None)
    text = page(staff("view"), LIST)
    assert '<progress max="100" value="0" aria-label="Progress"></progress></span>' in text
    assert "Progress unknown" not in text


def test_list__queries_do_not_grow_with_the_jobs(make_job: Any, django_assert_num_queries: Any) -> None:
    client = staff("view")
    owner = User.objects.create(username="ann")
    make_job(owner=owner)
    client.get(LIST)
    with CaptureQueriesContext(connection) as few:
        client.get(LIST)
    for _ in range(12):
        make_job(owner=owner, status="failed")
    with django_assert_num_queries(len(few)):
        client.get(LIST)


@pytest.mark.parametrize("query", ["q=job-1", "q=March", "q=ann", "status__exact=failed", "public__exact=1"])
def test_list__search_and_filters(make_job: Any, query: str) -> None:
    owner = User.objects.create(username="ann")
    make_job("job-1", name="Import of March", owner=owner, public=True, status="failed")
    make_job("other")
    text = page(staff("view"), f"{LIST}?{query}")
    assert detail("job-1") in text
    assert detail("other") not in text


def test_list__holds_what_the_policy_shows(make_job: Any, settings: Any) -> None:
    settings.JOBS_ACCESS_POLICY = f"{__name__}.OnlyPublic"
    make_job("hidden")
    make_job("public", public=True)
    client = staff("view")
    text = page(client, LIST)
    assert detail("public") in text
    assert detail("hidden") not in text
    assert client.get(detail("hidden")).status_code == 302


class OnlyPublic:
    def may_view(self, user: Any, job: Any) -> bool:
        return bool(job.public)

    def visible(self, user: Any, jobs: Any) -> Any:
        return jobs.filter(public=True)


def test_pages__hold_no_inline_script_or_style(make_job: Any) -> None:
    make_job("job-1", status="in_progress").log("line")
    client = staff("view", "add", "change")
    for address in (LIST, detail("job-1"), ADD):
        text = page(client, address)
        assert not re.search(r"<[^>]+ style=", text)
        assert not re.search(r"<script(?![^>]* src=)(?![^>]*type=\"application/json\")", text)


def test_detail__log_is_newest_first_and_escaped(make_job: Any) -> None:
    lifecycle = make_job("job-1", status="in_progress")
    lifecycle.log("<b>bold</b>")
    text = page(staff("view"), detail("job-1"))
    assert "&lt;b&gt;bold&lt;/b&gt;" in text
    assert re.findall(r"<tr><td>(\d+)</td>", text) == ["3", "2", "1"]
    assert "not shown" not in text


@pytest.mark.parametrize(
    ("extra", "words"), [(1, "1 earlier event is not shown."), (2, "2 earlier events are not shown.")]
)
def test_detail__counts_the_events_beyond_the_most_recent(
    make_job: Any, monkeypatch: pytest.MonkeyPatch, extra: int, words: str
) -> None:
    monkeypatch.setattr(jobs_admin, "EVENTS_SHOWN", 2)
    lifecycle = make_job("job-1", status="in_progress")
    for _ in range(extra):
        lifecycle.log("line")
    text = page(staff("view"), detail("job-1"))
    assert re.findall(r"<tr><td>(\d+)</td>", text) == [str(2 + extra), str(1 + extra)]
    assert words in text


def test_detail__links_to_the_live_page(make_job: Any) -> None:
    job = make_job("job-1").job
    assert f'href="{job.get_absolute_url()}" class="viewsitelink"' in page(staff("view"), detail("job-1"))


@of_each_kind
def test_pages__a_bad_row_harms_itself_only(make_job: Any, bad: dict[str, Any]) -> None:
    for name in ("job-1", "bad", "job-2"):
        make_job(name, status="in_progress").log("line")
    spoil("bad", bad)
    client = staff("view", "change")
    text = page(client, LIST)
    assert all(detail(name) in text for name in ("job-1", "bad", "job-2"))
    assert "bad" in page(client, detail("bad"))
    page(client, detail("job-1"))


def test_pages__a_malformed_id_harms_itself_only(make_job: Any) -> None:
    make_job("job-1")
    ProcessingJob.objects.create(id="a/b", name="The job", public=True)
    client = staff("view")
    assert "The job" in page(client, LIST)
    assert "The job" in page(client, detail(quote("a/b")))
    assert client.get("/").status_code == 200


@of_each_that_can_not_be_shown
def test_cancel__a_bad_row_harms_itself_only(make_job: Any, bad: dict[str, Any]) -> None:
    for name in ("job-1", "bad", "job-2"):
        make_job(name, status="queued")
    spoil("bad", bad)
    told = act(staff("view", "change"), "cancel_jobs", "job-1", "bad", "job-2")
    assert {"Job 'job-1': cancelled.", "Job 'job-2': cancelled."} <= set(told)
    assert len(told) == 3


# Never editing


def test_detail__has_nothing_to_edit(make_job: Any) -> None:
    make_job("job-1")
    text = page(staff("view", "change", "delete"), detail("job-1"))
    assert 'name="_save"' not in text
    assert 'name="name"' not in text
    assert "deletelink" not in text


def test_changes_by_hand__are_refused(make_job: Any) -> None:
    make_job("job-1", name="before")
    before = stored("job-1")
    client = staff("view", "change", "delete")
    assert client.post(detail("job-1"), {"name": "after", "status": "completed"}).status_code == 403
    assert client.post(f"{LIST}job-1/delete/", {"post": "yes"}).status_code == 403
    act(client, "delete_selected", "job-1")
    assert stored("job-1") == before


# Acting


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

    def locked(self: Any) -> None:
        asked.append(self.job_id)
        raise OperationalError("database is locked")

    monkeypatch.setattr(ProcessingJobLifecycle, "request_cancel", locked)
    (told,) = act(staff("view", "change"), "cancel_jobs", "a", "b")
    assert told.startswith(f"Job {asked[0]!r}: the database does not answer now.")
    assert len(asked) == 1


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


# Creating


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
