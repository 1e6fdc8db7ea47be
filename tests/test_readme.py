"""What the README and docs/testing.md show runs, and works as they say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.core.management import get_commands

from jobs.models import JobEvent, ProcessingJob
from tests.documents import FENCE, PAGES, rows, section
from tests.installation import ROOT

README = PAGES["README.md"]


def snippets(language: str) -> list[str]:
    return [code for named, code in FENCE.findall(README) if named == language]


def run(code: str, **names: object) -> None:
    exec(compile(code, "README.md", "exec"), names)


@pytest.mark.django_db(transaction=True)
def test_report__runs() -> None:
    (code,) = [code for code in snippets("python") if "track" in code]
    converted: list[str] = []
    run(code, rows=["one", "two"], convert=converted.append)
    job = ProcessingJob.objects.get()
    assert converted == ["one", "two"]
    assert (job.status, job.progress, job.public) == ("completed", 100.0, True)
    assert JobEvent.objects.filter(job=job).exists()
    assert f'job-id="{job.pk}"' in section("README.md", "Show")


def test_python__all_of_it_is_known() -> None:
    others = [code for code in snippets("python") if "track" not in code]
    assert [code for code in others if "logging" not in code] == [], "snippets that no test runs"
    for code in others:
        run(code)


def test_report__names_methods_that_there_are() -> None:
    from jobs.lifecycle import ProcessingJobLifecycle

    named = re.findall(r"`(?!a?mark_progress`)(\w+)(?:\([^`]*\))?`", section("README.md", "Report"))
    assert "mark_failed" in named
    for name in [*named, "mark_progress"]:
        for twin in {name, f"a{name}"} - {"aamark_progress"}:
            assert callable(getattr(ProcessingJobLifecycle, twin, None)), twin


def test_show__the_script_is_there() -> None:
    (page,) = snippets("html")
    sources = re.findall(r'src="/static/([^"]+)"', page)
    assert sources
    assert all(finders.find(source) for source in sources)


def test_commands__exist() -> None:
    table = [command.split()[0] for command in rows(section("README.md", "Use it in earnest"))]
    ours = {path.stem for app in ("progress", "demo") for path in (ROOT / app / "management/commands").glob("[!_]*.py")}
    assert set(table) == ours
    assert set(re.findall(r"manage\.py (\w+)", README)) <= set(get_commands())


def test_testing__its_tests_run(tmp_path: Path) -> None:
    """In Django's own runner, as they stand there."""
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "__init__.py").touch()
    for number, (language, code) in enumerate(FENCE.findall(PAGES["docs/testing.md"])):
        assert language == "python"
        (folder / f"test_{number}.py").write_text(code)
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "DJANGO_DEBUG": "1"}
    command = [sys.executable, str(ROOT / "manage.py"), "test", "examples", "--settings=progress_site.settings"]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert "Ran 3 tests" in done.stderr, done.stderr
    assert done.returncode == 0, done.stderr


def test_production__check_deploy_has_nothing_to_say(tmp_path: Path) -> None:
    (code,) = [code for code in snippets("") if "HSTS" in code]
    settings = dict(re.findall(r"(DJANGO_\w+)=(\S+)", code)) | {"DJANGO_SECRET_KEY": "long and r4ndom " * 4}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE_"))}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"],
        cwd=ROOT,
        env={**kept, **settings, "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "no issues" in done.stdout


def test_how_fast__its_figures_are_those_that_were_measured() -> None:
    """Each stands in the table of its benchmark, as it was written there."""
    shown = re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \| `make bench ARGS=(\w+)` \|$", README, re.MULTILINE)
    assert len(shown) == 5
    results = PAGES["docs/benchmarks.md"].split("\n## ")
    for ours, beside, claim in shown:
        (measured,) = [part for part in results if f"[benchmarks/{claim}.py]" in part]
        for figure in re.findall(r"\d[\d,.]*", ours + beside):
            assert re.search(rf"(?<![\d.,]){re.escape(figure)}(?!\d)", measured), f"{figure} is not in {claim}"
