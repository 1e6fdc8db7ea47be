"""Another project takes both apps in, under a package, labels, a user model and settings of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation import ROOT

PROJECT = ROOT / "tests" / "elsewhere"  # all of it but the two apps
PACKAGE = Path("host") / "background"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with copies of the apps."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT, folder, dirs_exist_ok=True)
    for app in ("jobs", "progress"):
        shutil.copytree(ROOT / app, folder / PACKAGE / app, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def run(project: Path, *arguments: str) -> str:
    """Run Python in the project, which must not find our own folders."""
    foreign = ("DJANGO_", "DATABASE_", "REDIS_", "PROGRESS_", "PYTEST_", "PYTHONPATH")
    env = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    command = [sys.executable, "-W", "error", *arguments]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", [("check", "--fail-level", "WARNING"), ("makemigrations", "--check", "--dry-run")])
def test_commands__have_nothing_to_say(project: Path, command: tuple[str, ...]) -> None:
    run(project, "manage.py", *command)


def test_core__works_there(project: Path) -> None:
    assert "OK" in run(project, "manage.py", "test", "host", "--verbosity", "2")
