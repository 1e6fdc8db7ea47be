"""What our commands print, in processes of their own: with other encodings, and to nobody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.installation import COMMAND_SECONDS, ROOT, Site
from tests.sampling import first_quick

ENCODINGS = {
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "LANG=C": {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
}
encodings = pytest.mark.parametrize("settings", first_quick(ENCODINGS))


def printed(site: Site, *arguments: str, **settings: str) -> tuple[int, str, str]:
    """Run a command; return how it exits and what it prints, as ASCII where that can be."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env={**site.env, **settings},
        capture_output=True,
        timeout=COMMAND_SECONDS,
        check=False,
    )
    return done.returncode, done.stdout.decode("ascii", "replace"), done.stderr.decode("ascii", "replace")


def to_nobody(site: Site, *arguments: str) -> tuple[int, str]:
    """Run a command whose output nobody reads; return how it exits and what it complains of."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env={**site.env, "PYTHONUNBUFFERED": ""},  # as it is for people
            stdout=writer,
            stderr=subprocess.PIPE,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    finally:
        os.close(writer)
    return done.returncode, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "a").write_text("a")
    return tmp_path / "work"


@encodings
def test_hash_folder__prints_what_the_encoding_has(sqlite_site: Site, folder: Path, settings: dict[str, str]) -> None:
    code, output, errors = printed(sqlite_site, "hash_folder", str(folder), "--job-id=job-1", **settings)
    assert (code, errors) == (0, "")
    assert output.startswith("job-1\n")
    assert "1 file" in output


@encodings
@pytest.mark.parametrize("command", ["simulate_job", "watch_job"])
@pytest.mark.slow
def test_help__prints_what_the_encoding_has(sqlite_site: Site, command: str, settings: dict[str, str]) -> None:
    for arguments in ([command, "--help"], ["help", command]):
        code, output, errors = printed(sqlite_site, *arguments, **settings)
        assert (code, errors) == (0, "")
        assert f"manage.py {command}" in output


def test_hash_folder__works_for_no_reader(sqlite_site: Site, folder: Path) -> None:
    assert to_nobody(sqlite_site, "hash_folder", str(folder), "--job-id=job-1") == (0, "")
    assert sqlite_site.job("job-1")["status"] == "completed"


def test_simulate_job__works_for_no_reader(sqlite_site: Site) -> None:
    assert to_nobody(sqlite_site, "simulate_job", "--rate=0", "--jobs=2", "--job-id=job") == (0, "")
    assert [sqlite_site.job(f"job-{number}")["status"] for number in (1, 2)] == ["completed", "completed"]
