"""A share link in a real browser, opened by somebody without an account."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Step
from tests.browser.helpers import LIVE, RETURN
from tests.installation import Served

GONE = "this link has expired, or was taken back"
ISSUE = """
    import sys
    from progress.identity.tokens import issue_token
    print(issue_token(jobs=[sys.argv[1]]), end="")
"""
REVOKE = """
    from progress.identity.revocation import revoke_token
    from progress.models import AccessToken
    revoke_token(AccessToken.objects.get().jti)
"""
# Runs before each script of a page: whatever asks where the page is, or opens a socket, is noted with the URL of then.
NOTE = """
    window.noted = [];
    const define = customElements.define.bind(customElements);
    customElements.define = (...all) => { window.noted.push(location.href); return define(...all); };
    const Socket = WebSocket;
    window.WebSocket = class extends Socket {
        constructor(...all) { window.noted.push(location.href, all[0]); super(...all); }
    };
"""


@pytest.fixture
def guest(browser: Browser, serve: Served) -> Iterator[Page]:
    """A page that may be told once, of the document itself, that it was not found, and complains of nothing else."""
    context = browser.new_context()
    context.add_init_script(NOTE)
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    expected = re.compile(r"the server responded with a status of 404|WebSocket connection to")
    assert [text for text in complaints if not expected.search(text)] == []


def private_jobs(worker: Step) -> None:
    worker("hidden", "create")
    worker("private", "create", name="Import")
    worker("private", "mark_started", message="Reading")


def follow(guest: Page, token: str) -> None:
    """Open a link to the page that is open already, of which a browser changes the fragment alone."""
    guest.evaluate("(token) => { location.hash = `#t=${token}`; }", token)


def test_share_link__shows_one_private_job_until_it_is_revoked(guest: Page, serve: Served, worker: Step) -> None:
    private_jobs(worker)
    token = serve.site.worker(ISSUE, "private")
    for other in ("hidden", "no-such-job"):
        guest.goto(f"{serve.url}/jobs/{other}/#t={token}")
        expect(guest.locator("[data-part=connection]")).to_have_text("waiting for the job")
        expect(guest.locator("h1")).to_have_text("A shared job")
    guest.goto(f"{serve.url}/jobs/private/#t={token}")
    connection, bar = guest.locator("[data-part=connection]"), guest.locator("progress")
    expect(connection).to_have_text(LIVE)
    expect(guest.locator("h1")).to_have_text("Import")
    expect(guest.locator("[data-part=message]")).to_have_text("Reading")
    worker("private", "mark_progress", progress=40)
    expect(bar).to_have_attribute("value", "40")
    expect(guest).to_have_title("40% · Import")
    assert guest.url == f"{serve.url}/jobs/private/"
    noted = guest.evaluate("window.noted")
    assert f"{serve.ws_url}/progress/ws" in noted
    assert not any(token in each for each in noted)
    assert token not in guest.content()
    assert guest.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]

    serve.kill()
    worker("private", "mark_progress", progress=60)
    serve.start()
    expect(bar).to_have_attribute("value", "60", timeout=RETURN)
    expect(connection).to_have_text(LIVE)

    serve.site.worker(REVOKE)
    expect(connection).to_have_text(GONE)
    worker("private", "mark_progress", progress=80)
    expect(bar).to_have_attribute("value", "60")
    assert token.split(".")[2] not in serve.log_text()

    guest.reload()
    expect(guest.locator("h1")).to_have_text("There is no such job")
    follow(guest, token)
    expect(connection).to_have_text(GONE)
    assert guest.url == f"{serve.url}/jobs/private/"

    follow(guest, serve.site.worker(ISSUE, "private"))
    expect(connection).to_have_text(LIVE)
    expect(bar).to_have_attribute("value", "80")
    assert guest.url == f"{serve.url}/jobs/private/"


def test_share_link__to_a_job_that_the_visitor_may_see_anyway(page: Page, serve: Served, worker: Step) -> None:
    worker("job-1", "create", public=True)
    page.goto(f"{serve.url}/jobs/job-1/#t={serve.site.worker(ISSUE, 'job-1')}")
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)
    assert page.url == f"{serve.url}/jobs/job-1/"
    serve.site.worker(REVOKE)
    worker("job-1", "mark_started", message="Reading")
    expect(page.locator("[data-part=message]")).to_have_text("Reading")
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)


def test_share_link__opened_where_the_right_to_the_job_has_gone(guest: Page, serve: Served, worker: Step) -> None:
    worker("job-1", "create", public=True)
    guest.goto(f"{serve.url}/jobs/job-1/")
    expect(guest.locator("[data-part=connection]")).to_have_text(LIVE)
    worker("job-1", "edit", public=False)
    expect(guest.locator("[data-part=connection]")).not_to_have_text(LIVE)
    follow(guest, serve.site.worker(ISSUE, "job-1"))
    expect(guest.locator("[data-part=connection]")).to_have_text(LIVE)
    assert guest.url == f"{serve.url}/jobs/job-1/"
