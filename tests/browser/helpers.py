"""What the tests of the pages share."""

import re

from playwright.sync_api import Page

from tests.browser.conftest import Step

LIVE = re.compile(r"^live$")
GONE = "this job is no longer here, or not for you"
SECONDS = 1000.0  # milliseconds
RETURN = 25 * SECONDS  # the longest wait of the backoff, and some


def start_job(worker: Step, job_id: str = "job-1", **fields: object) -> None:
    worker(job_id, "create", public=True, **fields)
    worker(job_id, "mark_started", message="Reading")


def mark_page(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.neverReloaded = true")


def was_never_reloaded(page: Page) -> bool:
    return bool(page.evaluate("window.neverReloaded === true"))
