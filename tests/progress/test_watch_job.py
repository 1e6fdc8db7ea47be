import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.installation import ROOT, Served
from tests.progress.test_printing import encodings, printed, to_nobody
from tests.sampling import first_quick

MAKE = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
lifecycle = ProcessingJobLifecycle.create("job-1", name="[bold]Job[/x]", public=sys.argv[1] == "public")
for step in sys.argv[2:]:
    getattr(lifecycle, step)()
"""
# Runs the job once a line comes in.
RUN = """
from jobs.lifecycle import ProcessingJobLifecycle
lifecycle = ProcessingJobLifecycle("job-1")
input()
lifecycle.mark_started()
lifecycle.mark_progress(50, stage="one")
lifecycle.log("half way")
for part in "It ", "works\\n", "\\x1b[2J", "ö":
    lifecycle.output(part)
lifecycle.mark_completed("Done")
"""
STATUSES = """
from jobs.models import ProcessingJob
print(*ProcessingJob.objects.values_list("status", flat=True))
"""
IN_ALL_SCRIPTS = """
from jobs.lifecycle import ProcessingJobLifecycle
lifecycle = ProcessingJobLifecycle.create("job-1", name="Импорт → 輸入", public=True)
lifecycle.mark_started("输入 → 3 ½ rows…")
lifecycle.log("ключ")
lifecycle.mark_failed("Конец → rows")
"""


@pytest.fixture
def watch(serve: Served) -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, url: str = "", job_id: str = "job-1") -> subprocess.Popen[str]:
        command = [sys.executable, "manage.py", "watch_job", job_id, "--url", url or serve.ws_url, *arguments]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=ROOT, env=serve.env, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        (["mark_started", "mark_completed"], 0),
        pytest.param(["mark_started", "mark_failed"], 1, marks=pytest.mark.slow),
        pytest.param(["mark_cancelled"], 2, marks=pytest.mark.slow),
    ],
)
def test_watch_job__exit_code_says_how_the_job_ended(steps: list[str], code: int, serve: Served, watch: Any) -> None:
    serve.site.worker(MAKE, "public", *steps)
    assert ended(watch())[0] == code


@pytest.mark.parametrize("made", [True, False])
def test_watch_job__unknown_and_forbidden_read_alike(made: bool, serve: Served, watch: Any) -> None:
    if made:
        serve.site.worker(MAKE, "private")
    code, output, errors = ended(watch())
    assert (code, output) == (3, "")
    assert errors.startswith("Job not found, or it is not for you to see")


def test_watch_job__json_follows_live_with_logs(serve: Served, watch: Any) -> None:
    serve.site.worker(MAKE, "public", "mark_queued")
    process = watch("--json", "--logs")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["type"] == "backscroll"
    first = json.loads(process.stdout.readline())
    assert (first["type"], first["status"]) == ("snapshot", "queued")
    worker = serve.site.start_worker(RUN)
    worker.communicate("go\n", timeout=30)
    code, output, _ = ended(process)
    frames = [json.loads(line) for line in output.splitlines()]
    assert code == 0
    assert [frame["text"] for frame in frames if frame["type"] == "log"] == ["half way"]
    assert frames[-1]["status"] == "completed"


@pytest.mark.slow
def test_watch_job__prints_output_as_it_is_and_nothing_that_controls_a_terminal(serve: Served, watch: Any) -> None:
    serve.site.worker(MAKE, "public", "mark_queued")
    process = watch("--output")
    assert process.stdout is not None
    assert process.stdout.readline().startswith("queued")
    worker = serve.site.start_worker(RUN)
    worker.communicate("go\n", timeout=30)
    code, printed, _ = ended(process)
    assert code == 0
    assert printed.splitlines()[-4:] == ["in progress · 50 % · one", "It works", " [2Jö", "completed · 100 % · Done"]


@pytest.mark.slow
def test_watch_job__goes_on_through_a_crash_of_the_server(serve: Served, watch: Any) -> None:
    serve.site.worker(MAKE, "public", "mark_queued")
    process = watch()
    assert process.stdout is not None
    assert process.stdout.readline().startswith("queued")
    serve.kill()
    assert process.stdout.readline().startswith("reconnecting, as of ")
    worker = serve.site.start_worker(RUN)
    worker.communicate("go\n", timeout=30)
    serve.start()
    code, output, errors = ended(process)
    shown = [line for line in output.splitlines() if not line.startswith("reconnecting")]
    assert (code, errors) == (0, "")
    assert shown == ["in progress · 0 %", "in progress · 50 % · one", "completed · 100 % · Done"]


@pytest.mark.slow
def test_watch_job__ctrl_c_is_quiet(serve: Served, watch: Any) -> None:
    serve.site.worker(MAKE, "public")
    process = watch()
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    code, _, errors = ended(process)
    assert (code, errors) == (130, "")


def test_watch_job__reader_that_goes_away_is_no_error(serve: Served, watch: Any) -> None:
    serve.site.worker(MAKE, "public", "mark_queued")
    process = watch("--json")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    serve.site.start_worker(RUN).communicate("go\n", timeout=30)
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    assert process.wait(30) == 4


@encodings
@pytest.mark.slow
def test_watch_job__prints_what_the_encoding_has(serve: Served, settings: dict[str, str]) -> None:
    serve.site.worker(IN_ALL_SCRIPTS)
    code, output, errors = printed(serve.site, "watch_job", "job-1", "--url", serve.ws_url, **settings)
    assert (code, errors) == (1, "")
    assert output.startswith("failed ")
    assert output.endswith(" rows\n")


@encodings
@pytest.mark.slow
def test_watch_job__json_is_exact_in_every_encoding(serve: Served, settings: dict[str, str]) -> None:
    serve.site.worker(IN_ALL_SCRIPTS)
    code, output, errors = printed(serve.site, "watch_job", "job-1", "--url", serve.ws_url, "--json", **settings)
    assert (code, errors) == (1, "")
    assert (json.loads(output)["name"], json.loads(output)["message"]) == ("Импорт → 輸入", "Конец → rows")


@pytest.mark.parametrize("options", first_quick([[], ["--json"]]))
@pytest.mark.slow
def test_watch_job__nobody_reads(serve: Served, options: list[str]) -> None:
    serve.site.worker(IN_ALL_SCRIPTS)
    assert to_nobody(serve.site, "watch_job", "job-1", "--url", serve.ws_url, *options) == (4, "")


@encodings
@pytest.mark.parametrize("options", first_quick([[], ["--logs"]]))
def test_watch_job__a_terminal_shows_what_the_encoding_has(
    serve: Served, options: list[str], settings: dict[str, str]
) -> None:
    serve.site.worker(IN_ALL_SCRIPTS)
    code, output = on_terminal(serve, "watch_job", "job-1", "--url", serve.ws_url, *options, **settings)
    assert code == 1, output
    assert "failed" in output
    assert "Traceback" not in output


def on_terminal(serve: Served, *arguments: str, **settings: str) -> tuple[int, str]:
    """Run a command on a terminal of its own; return how it exits and what is shown, as ASCII."""
    ours, its = os.openpty()
    env = {**serve.env, "TERM": "xterm", "COLUMNS": "100", **settings}
    command = [sys.executable, "manage.py", *arguments]
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=its, stdout=its, stderr=its) as process:
        os.close(its)
        shown = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while read := os.read(ours, 65_536):
                shown += read
        os.close(ours)
        return process.wait(30), shown.decode("ascii", "replace")


@pytest.mark.parametrize(
    ("url", "words"), [("ws://127.0.0.1:1", "Can't connect to ws://127.0.0.1:1"), ("127.0.0.1", "is not a URL")]
)
def test_watch_job__no_server_is_said_at_once(url: str, words: str, watch: Any) -> None:
    code, _, errors = ended(watch(url=url))
    assert code == 4
    assert words in errors
    assert "Traceback" not in errors


def test_demo_progress__shows_every_stage_through_the_socket(serve: Served) -> None:
    printed = serve.site.manage("demo_progress", "--url", serve.ws_url, "--duration", "0.5").splitlines()
    assert printed[0].startswith("Created demo job ")
    for stage in range(1, 5):
        assert any(f"stage_{stage}" in line for line in printed)
    assert any(line.startswith("completed · 100 %") for line in printed)


@encodings
@pytest.mark.slow
def test_demo_progress__prints_what_the_encoding_has(serve: Served, settings: dict[str, str]) -> None:
    code, output, errors = printed(serve.site, "demo_progress", "--url", serve.ws_url, "--duration", "0.5", **settings)
    assert (code, errors) == (0, "")
    assert "stage_4" in output
    assert "\ncompleted " in output


@pytest.mark.slow
def test_demo_progress__nobody_reads(serve: Served) -> None:
    assert to_nobody(serve.site, "demo_progress", "--url", serve.ws_url) == (4, "")
    assert serve.site.worker(STATUSES).split() == ["cancelled"]


@pytest.mark.slow
def test_demo_progress__without_a_server_says_how_to_start_one(serve: Served) -> None:
    serve.stop()
    command = [sys.executable, "manage.py", "demo_progress", "--url", serve.ws_url]
    done = subprocess.run(command, cwd=ROOT, env=serve.env, capture_output=True, text=True, timeout=30)
    assert done.returncode == 4
    assert f"Can't connect to {serve.ws_url}" in done.stderr
    assert "manage.py serve" in done.stderr
    assert "Traceback" not in done.stderr
    assert serve.site.worker(STATUSES).split() == ["cancelled"]
