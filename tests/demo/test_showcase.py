import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from demo.management.commands import showcase as showcase_command
from demo.management.commands.showcase import MIN_RATE, SHOW_SECONDS, watchable_rate
from tests.installation import ROOT, Site
from tests.ports import free_port
from tests.sampling import first_quick

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def showcase(sqlite_site: Site) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def start(*options: str, **settings: str) -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", "showcase", *options]
        pipe = subprocess.PIPE
        started.append(
            subprocess.Popen(
                command,
                cwd=ROOT,
                env={**sqlite_site.env, **settings},
                stdout=pipe,
                stderr=pipe,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            for pid in (process.pid, *children(process).values()):
                os.kill(pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def slow(tmp_path: Path) -> list[str]:
    """Options with which the job takes long."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "large").write_bytes(bytes(1_000_000))
    return ["--path", str(tmp_path / "work"), "--max-rate", "0.01"]


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    assert process.stdout is not None
    read = []
    for line in process.stdout:
        read.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError(f"{pattern!r} did not come: {read} {process.stderr and process.stderr.read()}")


def children(process: subprocess.Popen[str]) -> dict[str, int]:
    """Return the ids of its children by the command that each of them runs."""
    pids = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    commands = (Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in pids)
    # python manage.py COMMAND …; of one that has ended and is not waited for yet, there is nothing.
    return {command[2]: int(pid) for command, pid in zip(commands, pids, strict=True) if command != [""]}


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def ends(process: subprocess.Popen[str], family: dict[str, int]) -> tuple[int, str]:
    _, errors = process.communicate(timeout=30)
    assert not [command for command, pid in family.items() if is_alive(pid)]
    assert "Traceback" not in errors
    return process.returncode, errors


def test_showcase__shows_the_job_and_goes_on_serving(showcase: Start, sqlite_site: Site, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").write_text("x")
    port = free_port()
    process = showcase("--port", str(port), "--path", str(tmp_path / "work"))
    page = read_until(process, r"http://").split()[-1]
    job_id = page.rstrip("/").rpartition("/")[2]
    assert page == f"http://127.0.0.1:{port}/jobs/{job_id}/"
    read_until(process, r"^completed · 100 %")
    read_until(process, r"Still serving")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
        assert answer.status == 200
    assert sqlite_site.job(job_id)["status"] == "completed"
    family = children(process)
    assert family.keys() == {"serve"}
    os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
    assert ends(process, family)[0] == 0


@pytest.mark.parametrize("kind", first_quick([signal.SIGTERM, signal.SIGINT, signal.SIGHUP]))
@pytest.mark.parametrize("to_group", first_quick([True, False]))
@pytest.mark.slow
def test_showcase__stop_at_work_leaves_no_process_and_no_running_job(
    kind: signal.Signals, to_group: bool, showcase: Start, sqlite_site: Site, slow: list[str]
) -> None:
    process = showcase("--port", str(free_port()), *slow)
    job_id = read_until(process, r"http://").rstrip("/\n").rpartition("/")[2]
    read_until(process, r"^in progress .* large")
    family = children(process)
    assert family.keys() == {"serve", "hash_folder"}
    (os.killpg if to_group else os.kill)(process.pid, kind)
    code, errors = ends(process, family)
    assert (code, errors) == (0, "")
    assert sqlite_site.job(job_id)["status"] == "cancelled"


def test_showcase__stop_at_start_leaves_no_process(showcase: Start, slow: list[str]) -> None:
    process = showcase("--port", str(free_port()), *slow)
    read_until(process, r"http://")
    family = children(process)
    os.killpg(process.pid, signal.SIGINT)
    assert ends(process, family) == (0, "")


@pytest.mark.slow
def test_showcase__prints_what_the_encoding_has(showcase: Start, tmp_path: Path) -> None:
    (tmp_path / "работа").mkdir()
    path = str(tmp_path / "работа")
    process = showcase("--port", str(free_port()), "--path", path, PYTHONIOENCODING="ascii")
    read_until(process, r"^completed ")
    read_until(process, r"Still serving")
    family = children(process)
    os.killpg(process.pid, signal.SIGINT)
    assert ends(process, family) == (0, "")


@pytest.mark.slow
def test_showcase__reader_that_goes_away_ends_it(showcase: Start, sqlite_site: Site, slow: list[str]) -> None:
    process = showcase("--port", str(free_port()), *slow)
    job_id = read_until(process, r"http://").rstrip("/\n").rpartition("/")[2]
    family = children(process)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(30)) == ("", 4)
    assert not [command for command, pid in family.items() if is_alive(pid)]
    assert sqlite_site.job(job_id)["status"] == "cancelled"


@pytest.mark.slow
def test_showcase__death_of_the_worker_is_said(showcase: Start, sqlite_site: Site, slow: list[str]) -> None:
    process = showcase("--port", str(free_port()), *slow)
    job_id = read_until(process, r"http://").rstrip("/\n").rpartition("/")[2]
    read_until(process, r"^in progress .* large")
    os.kill(children(process)["hash_folder"], signal.SIGKILL)
    read_until(process, r"^failed .* The worker died \(killed by SIGKILL\)")
    read_until(process, r"Still serving")
    assert sqlite_site.job(job_id)["status"] == "failed"
    os.killpg(process.pid, signal.SIGINT)
    assert ends(process, children(process))[0] == 0


@pytest.mark.slow
def test_showcase__death_of_the_server_is_said(showcase: Start, slow: list[str]) -> None:
    process = showcase("--port", str(free_port()), *slow)
    read_until(process, r"^in progress .* large")
    family = children(process)
    os.kill(family["serve"], signal.SIGKILL)
    code, errors = ends(process, family)
    assert code == 1
    assert "The server has ended (killed by SIGKILL)" in errors


def test_watchable_rate__the_whole_takes_the_time_of_a_show(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for path in (tmp_path / "one", tmp_path / "below" / "other"):
        with path.open("wb") as file:
            file.truncate(60_000_000)
    (tmp_path / "link").symlink_to("one")
    assert watchable_rate(str(tmp_path)) == 120 / SHOW_SECONDS


@pytest.mark.parametrize("folder", [".", "missing"])
def test_watchable_rate__of_next_to_nothing(folder: str, tmp_path: Path) -> None:
    assert watchable_rate(str(tmp_path / folder)) == MIN_RATE


def test_watchable_rate__of_very_many_files_has_no_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showcase_command, "MAX_LISTED", 2)
    for number in range(3):
        (tmp_path / str(number)).touch()
    assert watchable_rate(str(tmp_path)) is None


def test_showcase__taken_port_is_said(showcase: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, errors = ends(showcase("--port", str(port)), {})
    assert code == 1
    assert f"Port {port} can't be used" in errors
    assert "make run PORT=" in errors
