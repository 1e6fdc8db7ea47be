"""A browser that reports what it should not have to, and a worker in a process of its own.

page      a fresh page of a headless Chromium; the test fails if it had a console error or a CSP violation
worker    a worker on the installation of ``serve``, that does one step of a job at a time
"""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.installation import Served

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage"]
# A server that is away is what these tests are about; Chromium logs each failed try.
EXPECTED = "WebSocket connection to"

STEPS = """
    import json, sys
    from jobs.lifecycle import ProcessingJobLifecycle

    jobs = {}
    for line in sys.stdin:
        job_id, method, arguments = json.loads(line)
        if method == "create":
            jobs[job_id] = ProcessingJobLifecycle.create(job_id, **arguments)
        else:
            getattr(jobs[job_id], method)(**arguments)
        print("done", flush=True)
"""


@pytest.fixture(scope="module")  # no longer: its event loop would be in the way of other modules' tests
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    program = os.environ.get("PLAYWRIGHT_CHROMIUM") or request.getfixturevalue("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def patient() -> None:
    expect.set_options(timeout=10_000)  # milliseconds


@pytest.fixture
def page(browser: Browser, serve: Served) -> Iterator[Page]:  # after ``serve``, so that it is closed before it
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []

    pid = serve.pid

    def note(message: ConsoleMessage) -> None:
        if message.type not in ("error", "warning") or message.text.startswith(EXPECTED):
            return
        url = message.location["url"]
        # Chromium asks for the tab's icon when all else is there: a test that kills the server may cut that off.
        is_killed = not serve.running or serve.pid != pid
        if not (is_killed and url.endswith("/icon.svg") and "net::ERR_CONNECTION_" in message.text):
            complaints.append(f"{message.text} ({url})")

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    yield page
    context.close()
    assert not complaints


Step = Callable[..., None]


@pytest.fixture
def worker(serve: Served) -> Step:
    process = serve.site.start_worker(STEPS)
    assert process.stdin is not None
    assert process.stdout is not None
    lines_in, lines_out = process.stdin, process.stdout

    def step(job_id: str, method: str, **arguments: Any) -> None:
        """Have the worker call a method of the job's lifecycle, and wait until that is committed."""
        lines_in.write(json.dumps([job_id, method, arguments]) + "\n")
        lines_in.flush()
        answer = lines_out.readline()
        assert answer == "done\n", answer or (process.stderr and process.stderr.read())

    return step
