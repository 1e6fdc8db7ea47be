"""A project that has ours on its path sees our types (``py.typed``)."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.installation import ROOT

PROJECT = """
from jobs.reporting import Job, Reporter, reported
from progress.identity.tokens import issue_token


@reported
def work(report: Reporter, number: int) -> int:
    return number


work("import-march", 3)
reveal_type(Job.create("import-march").track([1, 2]))
reveal_type(issue_token)
"""


def test_types__are_seen_by_a_project_that_imports_ours(tmp_path: Path) -> None:
    (tmp_path / "project.py").write_text(PROJECT)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "ours.pth").write_text(f"{ROOT}\n{sysconfig.get_path('purelib')}\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--python-executable", tmp_path / "venv/bin/python"]
    # In a folder of its own, mypy finds no settings of ours, nor any sources but by the path of the interpreter.
    env = {name: value for name, value in os.environ.items() if name not in ("MYPYPATH", "PYTHONPATH")}
    done = subprocess.run([*command, "project.py"], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"typing.Iterator[int]"' in done.stdout
    assert '-> str"' in done.stdout
