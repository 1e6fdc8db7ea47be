"""What the README and the pages of docs/ name is there, and the README's Python runs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
from django.contrib.staticfiles import finders
from django.core.management import get_commands

from jobs.models import JobEvent, ProcessingJob
from tests.installation import ROOT

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def snippets(language: str) -> list[str]:
    return [code for named, code in FENCE.findall(README) if named == language]


def section(heading: str) -> str:
    return README.split(f"\n## {heading}\n")[1].split("\n## ")[0]


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
    assert f'job-id="{job.pk}"' in section("Show")


def test_python__all_of_it_is_known() -> None:
    others = [code for code in snippets("python") if "track" not in code]
    assert [code for code in others if "logging" not in code] == [], "snippets that no test runs"
    for code in others:
        run(code)


def test_report__names_methods_that_there_are() -> None:
    from jobs.lifecycle import ProcessingJobLifecycle

    named = re.findall(r"`(?!a?mark_progress`)(\w+)(?:\([^`]*\))?`", section("Report"))
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
    table = re.findall(r"^\| `(\w+)[^`]*` \|", section("Use it in earnest"), re.MULTILINE)
    assert "serve" in table
    ours = {path.stem for app in ("jobs", "progress") for path in (ROOT / app / "management/commands").glob("[!_]*.py")}
    assert set(table) == ours
    assert set(re.findall(r"manage\.py (\w+)", README)) <= set(get_commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_make__targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert named <= targets
    assert page.name != "README.md" or {"run", "test"} <= named


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links__resolve(page: Path) -> None:
    text = FENCE.sub("", page.read_text())
    links = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|srcset|href)="([^"]+)"', text)
    for link in links:
        if re.match(r"\w+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / unquote(name) if name else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text()), link


def anchors(text: str) -> set[str]:
    """Return the anchors that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_paths__that_are_named_exist() -> None:
    named = re.findall(r"`((?:jobs|progress|tests|docs|benchmarks)/[\w/.-]+)`", README)
    assert "progress/hub.py" in named
    assert all((ROOT / name).exists() for name in named)


def test_loggers__are_those_that_there_are() -> None:
    (listed,) = re.findall(r"^The loggers are .*?\.$", README, re.MULTILINE | re.DOTALL)
    modules = [path for app in ("jobs", "progress") for path in (ROOT / app).rglob("*.py")]
    names = [
        path.relative_to(ROOT).with_suffix("") for path in modules if "logging.getLogger(__name__)" in path.read_text()
    ]
    assert re.findall(r"`([\w.]+)`", listed) == sorted(".".join(name.parts) for name in names)
    named_otherwise = [path.name for path in modules if re.search(r"getLogger\((?!__name__\))", path.read_text())]
    assert named_otherwise == []


def test_testing__its_tests_run(tmp_path: Path) -> None:
    """In Django's own runner, as they stand there."""
    folder = tmp_path / "examples"
    folder.mkdir()
    (folder / "__init__.py").touch()
    page = (ROOT / "docs" / "testing.md").read_text()
    for number, (language, code) in enumerate(FENCE.findall(page)):
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
