"""A browser's own client of server-sent events, as a page of the site would use it."""

from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.browser.test_pages import SIGN_IN
from tests.installation import Served

FOLLOW = """(path) => {
    window.frames_ = [];
    window.stream = new EventSource(path);
    window.stream.onmessage = ({ data, lastEventId }) => window.frames_.push([JSON.parse(data), lastEventId]);
}"""
FINISHED = """() => window.frames_.some(([frame]) => frame.status === "completed")"""
WORK = """
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("mine")
job.mark_started()
for step in range(20):
    job.mark_progress(step)
"""
END = """
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle("mine")
job.mark_progress(60)
job.mark_completed()
"""


def test_event_source__of_who_is_signed_in_comes_back_and_misses_nothing(browser: Browser, serve: Served) -> None:
    """By the cookie alone, with a private job; the server is killed in between."""
    key = serve.site.worker(SIGN_IN).strip()
    context = browser.new_context()
    context.add_cookies([{"name": "sessionid", "value": key, "url": serve.url}])
    page = context.new_page()
    page.goto(f"{serve.url}/")
    page.evaluate(FOLLOW, "/progress/events/mine")
    page.wait_for_function("() => window.frames_.length")
    serve.site.worker(WORK)
    page.wait_for_function("() => window.frames_.length > 10")
    serve.kill()
    serve.site.worker(END)
    serve.start()
    page.wait_for_function(FINISHED)
    frames: list[Any] = page.evaluate("() => window.frames_")
    context.close()
    seqs = [frame["seq"] for frame, _ in frames if frame["type"] == "progress"]
    assert seqs == list(range(2, 25))
    epoch = frames[0][0]["epoch"]
    assert all(last_id == f"{epoch}:{frame['seq']}" for frame, last_id in frames if "seq" in frame)


@pytest.mark.slow
def test_event_source__of_a_stranger_gives_up_at_a_private_job(browser: Browser, serve: Served) -> None:
    serve.site.worker(SIGN_IN)
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{serve.url}/")
    page.evaluate(FOLLOW, "/progress/events/mine")
    page.wait_for_function("() => window.stream.readyState === EventSource.CLOSED")
    context.close()
