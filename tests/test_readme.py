"""What README and the pages of docs/ show runs, and works as they say."""

import asyncio
import logging
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from channels.testing import HttpCommunicator
from django.contrib.auth.models import AnonymousUser, Group
from django.contrib.staticfiles import finders

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobAction, JobEvent, ProcessingJob
from progress import access
from tests.documents import FENCE, PAGES, rows, section
from tests.installation import ROOT, Served

README = PAGES["README.md"]
USAGE = "docs/usage.md"
STAGES = "docs/stages.md"
RUN_BY_DJANGO = "docs/testing.md"


def snippets(page: str, language: str) -> list[str]:
    return [code for named, code in FENCE.findall(PAGES[page]) if named == language]


def snippet_with(page: str, words: str, language: str = "python") -> str:
    (code,) = (code for code in snippets(page, language) if words in code)
    return code


def run(code: str, **names: object) -> dict[str, object]:
    exec(compile(code, "a snippet", "exec"), names)
    return names


@pytest.mark.django_db(transaction=True)
def test_report__runs() -> None:
    code = snippet_with("README.md", "track")
    converted: list[str] = []
    run(code, rows=["one", "two"], convert=converted.append)
    job = ProcessingJob.objects.get()
    assert converted == ["one", "two"]
    assert (job.status, job.progress, job.public) == ("completed", 100.0, True)
    assert JobEvent.objects.filter(job=job).exists()
    assert f'job-id="{job.pk}"' in section("README.md", "Show")


def test_watch__runs(serve: Served, capsys: pytest.CaptureFixture[str]) -> None:
    serve.site.worker(
        "from jobs.lifecycle import ProcessingJobLifecycle as L; job = L.create('import-march', public=True);"
        "job.mark_started(); job.mark_completed('Done')"
    )
    code = snippet_with(USAGE, "watch(")
    assert "ws://localhost:8000" in code
    names: dict[str, Any] = run(code.replace("ws://localhost:8000", serve.ws_url))
    asyncio.run(names["follow"]())
    assert capsys.readouterr().out == "completed 100.0 Done\n"


@pytest.mark.django_db
def test_policy__runs_and_its_methods_agree(django_user_model: Any) -> None:
    policy = run(snippet_with("docs/access.md", "TeamPolicy"))["TeamPolicy"]()  # type: ignore[operator]
    ann, bob, cat = (django_user_model.objects.create(username=name) for name in ("ann", "bob", "cat"))
    for team, members in (("one", [ann, bob]), ("two", [ann, bob]), ("three", [cat])):
        Group.objects.create(name=team).user_set.set(members)
    for name, owner in (("of-ann", ann), ("of-cat", cat), ("of-nobody", None)):
        ProcessingJob.objects.create(id=name, owner=owner)
    seen = {ann: {"of-ann"}, bob: {"of-ann"}, cat: {"of-cat"}, AnonymousUser(): set()}
    jobs = ProcessingJob.objects.all()
    for user, expected in seen.items():
        assert {job.pk for job in jobs if policy.may_view(user, job)} == expected
        assert [job.pk for job in policy.visible(user, jobs)] == list(expected)
        assert not policy.may_view(user, ProcessingJob())
    assert policy.viewable({user: [job.pk for job in jobs] for user in seen}) == seen
    assert {user: set(found) for user, found in policy.newest(list(seen), 9, own=False).items()} == seen


@pytest.mark.django_db(transaction=True)
def test_access_changed__runs(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bool] = []
    monkeypatch.setattr(access, "_tell", lambda: told.append(True))
    run(snippet_with("docs/access.md", "access_changed"))
    assert told == [True]


def test_logging__runs() -> None:
    logger = logging.getLogger("progress")
    before = logger.level
    try:
        run(snippet_with("docs/troubleshooting.md", "logging"))
        assert logger.level == logging.DEBUG
    finally:
        logger.setLevel(before)


@pytest.mark.django_db(transaction=True)
def test_usage__a_line_of_the_log(make_job: Any) -> None:
    job = make_job()
    run(snippet_with(USAGE, "job.log("), job=job)
    line = job.job.events.latest("seq")
    assert (line.kind, line.message, line.metadata) == ("log", "3 rows skipped", {"level": "warning"})


def test_usage__output(make_job: Any) -> None:
    job = make_job()
    run(snippet_with(USAGE, "job.output("), job=job, answer=["Once upon", " a time"])
    parts = job.job.events.filter(kind="output").order_by("seq")
    assert [(part.message, part.metadata["name"]) for part in parts] == [("Once upon", "answer"), (" a time", "answer")]


async def test_usage__streams_are_routed_ahead_of_the_pages(db: None) -> None:
    application: Any = run(snippet_with(USAGE, "http_urlpatterns"))["application"]
    stream = HttpCommunicator(application, "GET", "/progress/events/-", headers=[(b"host", b"localhost")])
    answer = await stream.get_response(10)
    assert (answer["status"], dict(answer["headers"])[b"content-type"]) == (404, b"application/json")
    page = HttpCommunicator(application, "GET", "/jobs/-/", headers=[(b"host", b"localhost")])
    assert b"<html" in (await page.get_response(10))["body"]
    await page.wait(10)


def test_usage__who_did_it(make_job: Any, rf: Any, django_user_model: Any) -> None:
    request, job = rf.get("/"), make_job(status="in_progress", public=True)
    request.user = django_user_model.objects.create(username="ann")
    run(snippet_with(USAGE, "request_cancel"), job=job, request=request)
    assert list(JobAction.objects.values_list("action", "actor")) == [("edit", "hide_jobs"), ("cancel", "ann")]


@pytest.mark.django_db(transaction=True)
def test_usage__what_is_to_be_done() -> None:
    run(snippet_with(USAGE, "plan="))
    (job,) = ProcessingJob.objects.all()
    assert (job.kind, job.plan, job.size) == ("thumbnails", [["download", 1], ["resize", 4]], 1_200.0)


@pytest.mark.django_db(transaction=True)
def test_stages__by_weight() -> None:
    job = ProcessingJobLifecycle.create("job-1")
    done: list[str] = []
    code = snippet_with(STAGES, '"download": 1')
    run(code, job=job, urls=["one", "two"], download=done.append, resize=done.append)
    assert done == ["one", "two"] * 2
    assert (job.job.status, job.job.plan) == ("completed", [["download", 1], ["resize", 3]])
    seen = {event.metadata.get("stage"): event for event in JobEvent.objects.order_by("seq")}
    assert [seen[name].progress for name in ("download", "resize")] == [25.0, 100.0]


@pytest.mark.django_db(transaction=True)
def test_stages__within_a_stage() -> None:
    job = ProcessingJobLifecycle.create("job-1")
    done: list[str] = []
    names: Any = {"load": lambda: done.append("load"), "export": lambda: done.append("export")}
    run(snippet_with(STAGES, "export()"), job=job, rows=["one"], parse=done.append, **names)
    assert done == ["one", "load", "export"]
    first = {event.metadata.get("stage"): event for event in JobEvent.objects.order_by("-seq")}
    assert [first[name].progress for name in ("import › load", "export")] == [37.5, 75]


@pytest.mark.django_db(transaction=True)
def test_stages__children() -> None:
    job = ProcessingJobLifecycle.create("job-1")

    def convert_elsewhere(job_id: str, files: list[str]) -> None:
        part = ProcessingJobLifecycle(job_id)
        part.mark_started()
        part.mark_completed(f"{len(files)} files")

    names: Any = {"job": job, "batches": [["one", "two"], ["three"]], "convert_elsewhere": convert_elsewhere}
    run(snippet_with(STAGES, "report.child("), **names)
    assert job.job.status == "completed"
    parts = ProcessingJob.objects.filter(parent=job.job_id).order_by("created_at")
    assert [(part.name, part.weight, part.message) for part in parts] == [
        ("Part 0", 2.0, "2 files"),
        ("Part 1", 1.0, "1 files"),
    ]
    seen = list(JobEvent.objects.filter(job=job.job_id).order_by("seq").values_list("progress", flat=True))
    assert [percent for percent in seen if percent] == [66.66, 100.0, 100.0]


def test_python__all_of_it_is_run() -> None:
    """Here, and that of four pages in test_access_doc, test_recovery_doc, test_reporting_doc and test_time_left_doc."""
    shown = {page: len(snippets(page, "python")) for page in PAGES if page != RUN_BY_DJANGO}
    run_above = {
        "README.md": 1,
        USAGE: 6,
        STAGES: 3,
        "docs/access.md": 6,
        "docs/recovery.md": 4,
        "docs/reporting.md": 12,
        "docs/time_left.md": 1,
        "docs/troubleshooting.md": 1,
    }
    assert {page: count for page, count in shown.items() if count} == run_above, "snippets that no test runs"


def test_report__names_methods_that_there_are() -> None:
    named = re.findall(r"`(?!a?mark_progress`)(\w+)(?:\([^`]*\))?`", section("README.md", "Report"))
    assert "mark_failed" in named
    for name in [*named, "mark_progress"]:
        for twin in {name, f"a{name}"} - {"aamark_progress"}:
            assert callable(getattr(ProcessingJobLifecycle, twin, None)), twin


def test_show__the_script_is_there() -> None:
    (page,) = snippets("README.md", "html")
    sources = re.findall(r'src="/static/([^"]+)"', page)
    assert sources
    assert all(finders.find(source) for source in sources)


def test_commands__exist() -> None:
    table = [command.split()[0] for command in rows(section(USAGE, "Commands"))]
    ours = {
        path.stem
        for app in ("jobs", "progress", "demo")
        for path in (ROOT / app / "management/commands").glob("[!_]*.py")
    }
    assert set(table) == ours


def test_testing__its_tests_run(tmp_path: Path) -> None:
    """In Django's own runner, as they stand there."""
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for number, (language, code) in enumerate(FENCE.findall(PAGES[RUN_BY_DJANGO])):
        assert language == "python"
        (folder / f"test_{number}.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "DJANGO_DEBUG": "1"}
    command = [sys.executable, str(ROOT / "manage.py"), "test", "examples", "--settings=progress_site.settings"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "Ran 3 tests" in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_how_fast__its_figures_are_those_that_were_measured() -> None:
    """Each stands in the table of its benchmark, as it was written there."""
    shown = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \| `make bench ARGS=(\w+)` \|$", README, re.MULTILINE)
    assert len(shown) == 5
    results = PAGES["docs/benchmarks.md"].split("\n## ")
    for ours, beside, claim in shown:
        (measured,) = [part for part in results if f"[benchmarks/{claim}.py]" in part]
        for figure in re.findall(r"\d[\d,.]*", ours + beside):
            assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d)", measured), f"{figure} is not in {claim}"
