"""The unit and its environment, as systemd and Django read them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from progress.client.connection import CONNECT_SECONDS
from progress.conf import Conf
from progress_site.environment import OTHERS
from tests.documents import PAGES, rows
from tests.installation import ROOT

UNIT = (ROOT / "deploy" / "progress@.service").read_text()
EXAMPLE = (ROOT / "deploy" / "progress.env.example").read_text()
VARIABLES = dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.MULTILINE))


def directive(name: str) -> str:
    (value,) = re.findall(rf"^{name}=(.*)$", UNIT, re.MULTILINE)
    return str(value)


def test_unit__is_valid(tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze: install the package systemd")
    unit = tmp_path / "progress@1.service"
    unit.write_text(UNIT.replace("/srv/progress/.venv/bin/python", sys.executable))
    done = subprocess.run([program, "verify", "--man=no", unit], capture_output=True, text=True)
    assert [line for line in done.stderr.splitlines() if "progress@" in line] == []
    assert done.returncode == 0, done.stderr


def test_unit__has_the_times_of_the_server() -> None:
    assert int(directive("TimeoutStopSec")) > 2 * Conf.DRAIN_SECONDS
    assert int(directive("WatchdogSec")) < CONNECT_SECONDS


def test_unit__starts_what_the_proxies_ask() -> None:
    path = directive("ExecStart").split(" -u ")[1].split()[0]
    assert path.startswith(f"/run/{directive('RuntimeDirectory')}/")
    for name in ("nginx.conf", "haproxy.cfg", "Caddyfile"):
        text = (ROOT / "deploy" / name).read_text()
        assert all(path.replace("%i", number) in text for number in "12"), name


def test_environment__names_variables_that_there_are() -> None:
    assert set(VARIABLES) <= set(rows(PAGES["docs/settings.md"])) | OTHERS


def test_environment__check_deploy_has_nothing_to_say(tmp_path: Path) -> None:
    own = {"DJANGO_SECRET_KEY": "long and r4ndom " * 4, "DATABASE_URL": f"sqlite:///{tmp_path}/db.sqlite3"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DATABASE_"))}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "INFO"]
    done = subprocess.run(command, cwd=ROOT, env={**kept, **VARIABLES, **own}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert "no issues" in done.stdout
