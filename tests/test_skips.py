"""A skipped test is told, and fails the run where skips are forbidden."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from tests.installation import ROOT

SKIPPING = """
import pytest

def test_runs(): pass

def test_skips(): pytest.skip("no Redis: none")

@pytest.mark.xfail
def test_is_known_to_fail(): assert False
"""
IN_A_FIXTURE = """
import pytest

@pytest.fixture(scope="session")
def redis(): pytest.skip("no Redis: none")

def test_skips(redis): pass

def test_runs(): pass
"""
OF_A_MODULE = """
import pytest

pytest.skip("no Redis: none", allow_module_level=True)
"""
RUNNING = "def test_runs(): pass\n"

quick, slow = pytest.param, partial(pytest.param, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    ("source", "forbid", "status", "told"),
    [
        pytest.param(
            SKIPPING, "1", 1, ["PROGRESS_FORBID_SKIPS forbids", "::test_skips: no Redis: none"], id="forbidden"
        ),
        pytest.param(SKIPPING, "", 0, ["NOT RUN", "::test_skips: no Redis: none"], id="allowed"),
        slow(IN_A_FIXTURE, "1", 1, ["PROGRESS_FORBID_SKIPS forbids", "::test_skips: no Redis: none"], id="fixture"),
        slow(OF_A_MODULE, "1", 1, ["PROGRESS_FORBID_SKIPS forbids", "test_sample.py: no Redis: none"], id="module"),
        slow(RUNNING, "1", 0, [], id="none"),
    ],
)
def test_skips__fail_the_run_where_forbidden(
    tmp_path: Path, source: str, forbid: str, status: int, told: list[str]
) -> None:
    (tmp_path / "test_another.py").write_text(RUNNING)
    (tmp_path / "test_sample.py").write_text(source)
    (tmp_path / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", str(tmp_path), str(tmp_path)]
    env = {**os.environ, "PROGRESS_FORBID_SKIPS": forbid}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == status, done.stdout + done.stderr
    assert all(words in done.stdout for words in told)
    assert ("NOT RUN" in done.stdout) == bool(told)
    assert "test_is_known_to_fail" not in done.stdout
