"""By what the admin's list of jobs can be narrowed."""

import re
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from jobs import admin_filters
from jobs.models import ProcessingJob
from tests.jobs.admin_pages import ADD, LIST, detail, page, staff
from tests.jobs.test_kind import make_many

pytestmark = pytest.mark.django_db(transaction=True)


def kinds(text: str) -> list[str]:
    return re.findall(r'href="\?kind=([^"&]+)"', text)


def test_kind__shows_each_that_there_is_and_their_jobs(make_job: Any) -> None:
    for job_id, kind in {"job-1": "resize", "job-2": "import", "job-3": "resize", "job-4": ""}.items():
        make_job(job_id, kind=kind)
    client = staff("view")
    assert kinds(page(client, LIST)) == ["import", "resize"]
    text = page(client, f"{LIST}?kind=resize")
    assert [job_id for job_id in ("job-1", "job-2", "job-3", "job-4") if detail(job_id) in text] == ["job-1", "job-3"]


def test_kind__names_none_that_the_policy_hides(make_job: Any, settings: Any) -> None:
    settings.JOBS_ACCESS_POLICY = "tests.jobs.test_admin.OnlyPublic"
    make_job(kind="hidden")
    make_job(kind="shown", public=True)
    text = page(staff("view"), LIST)
    assert kinds(text) == ["shown"]


def test_kind__is_asked_by_steps_in_the_index_however_many_jobs_there_are() -> None:
    make_many()
    with CaptureQueriesContext(connection) as queries:
        page(staff("view"), LIST)
    asked = [query["sql"] for query in queries if '"kind" >' in query["sql"]]
    assert len(asked) == 4
    assert all("LIMIT 1" in sql and "DISTINCT" not in sql for sql in asked)
    step = ProcessingJob.objects.filter(kind__gt="kind-0").order_by("kind").values_list("kind")[:1]
    assert "job_kind" in step.explain()


def test_kind__of_very_many_the_first_are_shown_and_the_search_finds_the_others(
    make_job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_filters, "KINDS_SHOWN", 2)
    for kind in "abcd":
        make_job(f"job-{kind}", kind=f"{kind}-kind")
    client = staff("view")
    assert kinds(page(client, LIST)) == ["a-kind", "b-kind"]
    text = page(client, f"{LIST}?q=d-kind")
    assert detail("job-d") in text
    assert detail("job-a") not in text


def test_detail__shows_kind_plan_and_size(make_job: Any) -> None:
    make_job("job-1", kind="<resize>", plan={"download": 1, "resize": 3}, size=12)
    text = page(staff("view"), detail("job-1"))
    assert "&lt;resize&gt;" in text
    assert "[[&quot;download&quot;, 1], [&quot;resize&quot;, 3]]" in text
    assert "12.0" in text


@pytest.mark.parametrize("bad", ['{"a": 1}', f"[{'9' * 5000}]"])
def test_pages__a_bad_plan_harms_its_own_job_only(make_job: Any, bad: str) -> None:
    for job_id in "job-1", "bad":
        make_job(job_id)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {ProcessingJob._meta.db_table} SET plan = %s WHERE id = 'bad'", [bad])
    client = staff("view")
    assert detail("bad") in page(client, LIST)
    page(client, detail("bad"))


def test_add__takes_a_kind(make_job: Any) -> None:
    client = staff("view", "add")
    fields = {"id": "job-1", "kind": "resize", "metadata": "{}"}
    assert client.post(ADD, fields).status_code == 302
    assert ProcessingJob.objects.get().kind == "resize"
    assert "at most 100 characters" in client.post(ADD, {**fields, "kind": "x" * 101}).content.decode()
