"""What the tests of the pages share."""

import re

from playwright.sync_api import Page, WebSocket, expect

from tests.browser.conftest import Step
from tests.installation import Served

LIVE = re.compile(r"^live$")
GONE = "this job is no longer here, or not for you"
SECONDS = 1000.0  # milliseconds
RETURN = 25 * SECONDS  # the longest wait of the backoff, and some

# What the element shows, as of now.
SHOWN = """() => {
    const element = document.querySelector("job-progress");
    const part = (name) => element.querySelector(`[data-part=${name}]`);
    return {
        name: part("name").textContent,
        bar: part("bar").getAttribute("value"),
        state: element.dataset.connection,
        words: part("connection").textContent,
    };
}"""


def start_job(worker: Step, job_id: str = "job-1", **fields: object) -> None:
    worker(job_id, "create", public=True, **fields)
    worker(job_id, "mark_started", message="Reading")


def mark_page(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.neverReloaded = true")


def was_never_reloaded(page: Page) -> bool:
    return bool(page.evaluate("window.neverReloaded === true"))


def open_job_page(page: Page, serve: Served, worker: Step, progress: float = 60) -> None:
    """Show a job that was at 10 % when the page was made, and is further by now."""
    start_job(worker, name="Import")
    worker("job-1", "mark_progress", progress=10)
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
    worker("job-1", "mark_progress", progress=progress)
    expect(page.locator("job-progress progress")).to_have_attribute("value", f"{progress:g}")


def sockets_of(page: Page) -> list[WebSocket]:
    """Return a list that gets each socket for a job that the page opens from here on."""
    opened: list[WebSocket] = []
    page.on("websocket", lambda socket: opened.append(socket) if "/progress/ws/" in socket.url else None)
    return opened
