"""Who did what, in the admin."""

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.messages import get_messages
from django.test import Client
from django.utils.html import escape

from jobs import action_admin
from jobs.actors import Actor
from jobs.models import JobAction, ProcessingJob
from tests.jobs.admin_pages import LIST, detail, page, staff
from tests.jobs.records import assert_whole, row

pytestmark = pytest.mark.django_db(transaction=True)

ACTIONS = "/admin/jobs/jobaction/"


@pytest.fixture
def auditor(db: None) -> Client:
    user = User.objects.create(username="auditor", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(content_type__model="jobaction"))
    client = Client()
    client.force_login(user)
    return client


def act(client: Client, action: str, *job_ids: str) -> list[str]:
    answer = client.post(LIST, {"action": action, "_selected_action": job_ids})
    return [str(message) for message in get_messages(answer.wsgi_request)]


@pytest.mark.parametrize(
    ("action", "status", "kept"),
    [
        ("cancel_jobs", "in_progress", "cancel"),
        ("retry_jobs", "failed", "retry"),
        ("make_jobs_public", "pending", "edit"),
    ],
)
def test_admin__what_is_done_carries_who_did_it(make_job: Any, action: str, status: str, kept: str) -> None:
    make_job("job-1", status=status)
    act(staff("view", "change"), action, "job-1")
    (done,) = JobAction.objects.all()
    assert (done.action, done.kind, done.actor, done.user) == (kept, "user", "staff-0", User.objects.get())
    shown = page(staff("view"), detail("job-1"))
    assert "user staff-0" in shown
    assert kept.capitalize() in shown


def test_admin__visibility_is_changed_by_who_may_control(make_job: Any) -> None:
    make_job("job-1")
    assert act(staff("view", "change"), "make_jobs_public", "job-1") == ["Job 'job-1': public: anyone may watch it."]
    assert row("job-1")["public"] is True
    assert act(staff("view"), "make_jobs_private", "job-1") == [], "who may only view changes nothing"
    assert row("job-1")["public"] is True
    act(staff("view", "change"), "make_jobs_private", "job-1")
    assert row("job-1")["public"] is False
    assert_whole("job-1")


def test_admin__a_page_of_another_site_changes_nothing(make_job: Any) -> None:
    make_job("job-1", status="in_progress")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(User.objects.create(username="root", is_staff=True, is_superuser=True))
    for action in ("cancel_jobs", "make_jobs_public"):
        answer = browser.post(LIST, {"action": action, "_selected_action": ["job-1"]})
        assert answer.status_code == 403
    assert (row("job-1")["cancel_requested_at"], row("job-1")["public"]) == (None, False)
    assert not JobAction.objects.exists()


def test_list__finds_by_job_and_by_actor_and_keeps_the_rows_of_deleted_jobs(make_job: Any, auditor: Client) -> None:
    make_job("job-1").request_cancel(by=Actor.command("stop_all"))
    make_job("job-2").request_cancel("x" * 50, by=Actor.token("a1b2"))
    ProcessingJob.objects.all().delete()
    assert page(auditor, ACTIONS).count('class="field-job_id"') == 2
    for words, found, other in (("job-1", "stop_all", "a1b2"), ("a1b2", "job-2", "job-1")):
        shown = page(auditor, f"{ACTIONS}?q={words}")
        assert found in shown
        assert other not in shown


def test_list__is_for_those_with_the_permission_and_nobody_writes_in_it(make_job: Any, auditor: Client) -> None:
    make_job("job-1").request_cancel()
    one = f"{ACTIONS}{JobAction.objects.get().pk}/"
    assert staff("view", "change", "delete").get(ACTIONS).status_code == 403
    assert "system" in page(auditor, f"{one}change/")
    assert auditor.get(f"{ACTIONS}add/").status_code == 403
    assert auditor.post(f"{one}change/", {"actor": "nobody"}).status_code == 403
    assert auditor.post(f"{one}delete/", {"post": "yes"}).status_code == 403
    auditor.post(
        ACTIONS, {"action": "delete_selected", "_selected_action": [JobAction.objects.get().pk], "post": "yes"}
    )
    assert JobAction.objects.get().actor == ""


def test_table__no_text_becomes_html_and_the_oldest_are_left_out(make_job: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(action_admin, "ACTIONS_SHOWN", 1)
    script = "<script>alert(1)</script>"
    job = make_job("job-1", status="in_progress")
    job.request_cancel("the first", by=Actor.command("first"))
    job.edit(name=script, by=Actor.command(script))
    shown = page(staff("view"), detail("job-1"))
    assert script not in shown
    assert escape(f"command {script}") in shown
    assert "Earlier ones are not shown." in shown
    assert "command first" not in shown
