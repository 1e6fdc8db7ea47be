"""What the admin shows of jobs: it edits none."""

import re
from typing import Any

import pytest
from django.contrib.admin.utils import quote
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import admin as jobs_admin
from jobs.models import ProcessingJob
from tests.jobs.admin_pages import ADD, LIST, detail, page, staff
from tests.jobs.bad_rows import of_each_kind, spoil

pytestmark = pytest.mark.django_db(transaction=True)


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


def test_detail__has_nothing_to_edit(make_job: Any) -> None:
    make_job("job-1")
    text = page(staff("view", "change"), detail("job-1"))
    assert 'name="_save"' not in text
    assert 'name="name"' not in text
    assert "deletelink" not in text
