"""The clients of the original specification, word for word, follow a job of this project.

Only the port in the URL is another one, since a test can't count on port 8000.
"""

import hashlib
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.installation import Served

FOLDER = Path(__file__).parent
LIFE = """
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("job-123")
job.mark_queued("Waiting")
job.mark_started("Begun")
job.mark_progress(75.0, message="Processing stage 3", metadata={"stage": "stage_3"})
job.mark_completed("Done")
"""
OTHER = """
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("additional-job-id")
job.mark_started("Other begun")
"""
CREATE = """
from jobs.lifecycle import ProcessingJobLifecycle
ProcessingJobLifecycle.create("job-123", public=True)
ProcessingJobLifecycle.create("additional-job-id", public=True)
"""
BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


# Of the two programs as the specification prints them, so that no formatter changes them unseen.
DIGESTS = {
    "client.js": "35919c4659462b00c64eb91ce058790acc7c747a9ca616b76015ec8eb2bfef51",
    "client.py": "85de30a0eba5676a0007a6e75754c96bcfc2101f349a7e4fb4cb061c9a00c868",
}


def test_clients__are_word_for_word_the_specifications() -> None:
    assert {name: hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() for name in DIGESTS} == DIGESTS


def source(name: str, served: Served) -> str:
    return (FOLDER / name).read_text().replace("localhost:8000", f"localhost:{served.port}")


def test_python_client__follows_from_pending_to_completed(serve: Served) -> None:
    serve.site.worker(CREATE)
    command = [sys.executable, "-u", "-c", source("client.py", serve)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as client:
        assert client.stdout is not None
        lines = [client.stdout.readline().strip()]
        assert lines == ["Status: pending"], client.stderr.read() if client.stderr and not lines[0] else lines
        serve.site.worker(LIFE)
        while "Message: Done" not in lines:
            line = client.stdout.readline()
            assert line or client.stderr is None, f"it has ended: {client.stderr.read()}"
            lines.append(line.strip())
        client.kill()
    assert [line for line in lines if line[0] != "-"] == [
        "Status: pending",
        "Progress: 0.0%",
        "Status: queued",
        "Progress: 0.0%",
        "Message: Waiting",
        "Status: in_progress",
        "Progress: 0.0%",
        "Message: Begun",
        "Status: in_progress",
        "Progress: 75.0%",
        "Message: Processing stage 3",
        "Status: completed",
        "Progress: 100.0%",
        "Message: Done",
    ]


def test_javascript_client__follows_a_job_another_and_an_error(serve: Served, chromium: str) -> None:
    serve.site.worker(CREATE)
    lines: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=BROWSER_FLAGS)
        page = browser.new_page()
        page.goto(f"http://localhost:{serve.port}/")  # any page of the site
        lines.clear()
        page.on("console", lambda message: lines.append(message.text))

        def wait_for(line: str) -> None:
            while line not in lines:
                page.wait_for_event("console")

        page.evaluate(f"() => {{ {source('client.js', serve)}; window.ws = ws; }}")
        wait_for("Pong received")
        serve.site.worker(LIFE)
        wait_for("Message: Done")
        assert lines[:1] == ["Connected to job progress"]
        shown = [line for line in lines[1:] if line != "Pong received"]
        assert shown == [
            "Status: pending",
            "Progress: 0%",
            "Status: queued",
            "Progress: 0%",
            "Message: Waiting",
            "Status: in_progress",
            "Progress: 0%",
            "Message: Begun",
            "Status: in_progress",
            "Progress: 75%",
            "Message: Processing stage 3",
            "Status: completed",
            "Progress: 100%",
            "Message: Done",
        ]
        page.evaluate("ws.send(JSON.stringify({type: 'subscribe', job_id: 'additional-job-id'}))")
        wait_for("Status: pending")
        serve.site.worker(OTHER)
        wait_for("Message: Other begun")
        page.evaluate("ws.send(JSON.stringify({type: 'subscribe', job_id: 'no-such-job'}))")
        wait_for("Error: Job not found")
        page.evaluate("ws.close()")
        wait_for("WebSocket connection closed")
        browser.close()
