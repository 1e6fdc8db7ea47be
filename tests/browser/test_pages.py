"""The pages in a real browser, against a real server, with jobs moved by another process."""

import re
import urllib.error
import urllib.request

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import Step
from tests.browser.helpers import GONE, LIVE, RETURN, mark_page, start_job, was_never_reloaded
from tests.installation import Served
from tests.sampling import first_quick

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'
SIGN_IN = """
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
    from django.contrib.sessions.backends.db import SessionStore
    from jobs.lifecycle import ProcessingJobLifecycle

    ann = get_user_model().objects.create_user("ann")
    ProcessingJobLifecycle.create("mine", owner=ann)
    session = SessionStore()
    session[SESSION_KEY], session[HASH_SESSION_KEY] = str(ann.pk), ann.get_session_auth_hash()
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session.save()
    print(session.session_key)
"""


def test_job_page__shows_each_change_live(page: Page, serve: Served, worker: Step) -> None:
    worker("job-1", "create", name="Import of March", public=True)
    page.goto(f"{serve.url}/jobs/job-1/")
    bar, status = (
        page.get_by_role("progressbar", name="Progress of Import of March"),
        page.locator("[data-part=status]"),
    )
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)
    expect(status).to_have_text("Pending")

    worker("job-1", "mark_queued")
    expect(status).to_have_text("Queued")
    worker("job-1", "mark_started", message="Reading")
    expect(status).to_have_text("In progress")
    worker("job-1", "mark_progress", current=0, total=4_000_000, metadata={"unit": "bytes"})
    worker("job-1", "mark_progress", current=1_700_000, stage="Validate", message="Checking")
    expect(bar).to_have_attribute("value", "42.5")
    expect(page.locator("[data-part=percent]")).to_have_text("42%")
    expect(page.locator("[data-part=stage]")).to_have_text("Validate")
    expect(page.locator("[data-part=message]")).to_have_text("Checking")
    expect(page.locator("[data-part=done]")).to_have_text("1.7 MB of 4.0 MB")
    while not page.locator("[data-part=rate]").inner_text():  # a rate is told once half a second has gone by
        worker("job-1", "mark_progress", current=1_700_000)
    expect(page.locator("[data-part=rate]")).to_have_text(re.compile(r"^[\d.]+ [KMG]?B/s$"))
    expect(page.locator("[data-part=left]")).to_have_text(re.compile(r" left$"))
    expect(page).to_have_title("42% · Import of March")

    worker("job-1", "mark_completed", message="All read")
    expect(status).to_have_text("Completed")
    expect(bar).to_have_attribute("value", "100")
    expect(page.locator("[data-part=left]")).to_be_hidden()
    expect(page).to_have_title("Completed · Import of March")


def test_job_page__failure_and_retry(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker)
    page.goto(f"{serve.url}/jobs/job-1/")
    worker("job-1", "mark_failed", message="No answer", error="TimeoutError: 30 s")
    expect(page.locator("[data-part=status]")).to_have_text("Failed")
    expect(page.locator("[data-part=error]")).to_have_text("TimeoutError: 30 s")
    worker("job-1", "retry")
    expect(page.locator("[data-part=status]")).to_have_text("Queued")
    expect(page.locator("[data-part=attempt]")).to_have_text("Attempt 2")
    expect(page.locator("[data-part=error]")).to_be_hidden()


def test_job_page__indeterminate_bar_has_no_value(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker)
    page.goto(f"{serve.url}/jobs/job-1/")
    worker("job-1", "mark_progress", current=17, metadata={"unit": "files"})
    expect(page.locator("[data-part=done]")).to_have_text("17 files")
    expect(page.locator("progress:indeterminate")).to_have_count(1)


def test_job_page__goes_on_after_the_server_was_killed(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker)
    page.goto(f"{serve.url}/jobs/job-1/")
    bar, connection = page.locator("progress"), page.locator("[data-part=connection]")
    worker("job-1", "mark_progress", progress=20)
    expect(bar).to_have_attribute("value", "20")
    mark_page(page)

    serve.kill()
    expect(connection).to_have_text(re.compile(r"^reconnecting, as of \d\d:\d\d:\d\d$"))
    worker("job-1", "mark_progress", progress=40, message="Nobody sees this at once")
    expect(bar).to_have_attribute("value", "20")

    serve.start()
    expect(connection).to_have_text(LIVE, timeout=RETURN)
    expect(bar).to_have_attribute("value", "40")
    worker("job-1", "mark_progress", progress=60)
    expect(bar).to_have_attribute("value", "60")
    assert was_never_reloaded(page)


@pytest.mark.slow
def test_job_page__resumes_from_its_position(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker)
    urls: list[str] = []
    page.on("websocket", lambda socket: urls.append(socket.url))
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)
    epoch = serve.site.job("job-1")["epoch"]
    assert urls == [f"{serve.ws_url}/progress/ws/job-1?epoch={epoch}&seq=2"]


def test_job_page__says_that_the_job_is_gone(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker)
    page.goto(f"{serve.url}/jobs/job-1/")
    connection = page.locator("[data-part=connection]")
    expect(connection).to_have_text(LIVE)
    serve.kill()
    serve.site.worker("from jobs.models import ProcessingJob; ProcessingJob.objects.all().delete()")
    serve.start()
    expect(connection).to_have_text(GONE, timeout=RETURN)


TAKEN_AWAY = {
    "deleted": "ProcessingJob.objects.all().delete()",  # many at once, which takes leave of nobody
    "remade for others": "ProcessingJob.objects.all().delete(); L.create('job-1')",
    "hidden": "L('job-1').edit(public=False)",
}


@pytest.mark.parametrize("how", first_quick(list(TAKEN_AWAY)))
def test_job_page__says_that_the_job_is_gone_while_its_socket_lives(
    how: str, page: Page, serve: Served, worker: Step
) -> None:
    start_job(worker)
    page.goto(f"{serve.url}/jobs/job-1/")
    connection = page.locator("[data-part=connection]")
    expect(connection).to_have_text(LIVE)
    serve.site.worker(f"""
        from django.db import transaction
        from jobs.lifecycle import ProcessingJobLifecycle as L
        from jobs.models import ProcessingJob
        with transaction.atomic():
            {TAKEN_AWAY[how]}
    """)
    expect(connection).to_have_text(GONE)
    expect(page.locator("job-progress")).to_have_attribute("data-connection", "stopped")


def test_job_page__own_hidden_job_is_watched_with_the_session(page: Page, serve: Served) -> None:
    session = serve.site.worker(SIGN_IN).strip()
    page.context.add_cookies([{"name": "sessionid", "value": session, "url": serve.url}])
    page.goto(f"{serve.url}/jobs/mine/")
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)
    serve.site.worker("from jobs.lifecycle import ProcessingJobLifecycle as L; L('mine').mark_started('Mine')")
    expect(page.locator("[data-part=message]")).to_have_text("Mine")


@pytest.mark.slow
def test_job_page__reload_keeps_the_state(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker)
    page.goto(f"{serve.url}/jobs/job-1/")
    worker("job-1", "mark_progress", progress=42.5, message="Half-way", stage="Validate")
    expect(page.locator("progress")).to_have_attribute("value", "42.5")
    page.reload()
    expect(page.locator("progress")).to_have_attribute("value", "42.5")
    expect(page.locator("[data-part=message]")).to_have_text("Half-way")
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)
    worker("job-1", "mark_progress", progress=50)
    expect(page.locator("progress")).to_have_attribute("value", "50")


def test_job_page__speaks_of_statuses_not_of_ticks(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker, name="Import")
    page.goto(f"{serve.url}/jobs/job-1/")
    spoken = page.locator("[data-part=announcement]")
    worker("job-1", "mark_progress", progress=30, message="Tick")
    expect(page.locator("progress")).to_have_attribute("value", "30")
    expect(spoken).to_have_text("")
    worker("job-1", "mark_completed")
    expect(spoken).to_have_text("Import: Completed")
    expect(page.get_by_role("status").filter(has_text="Import: Completed")).to_have_count(1)


def test_job_page__without_javascript_shows_the_state(browser: Browser, serve: Served, worker: Step) -> None:
    start_job(worker, name="Import")
    worker("job-1", "mark_progress", progress=42.5, message="Half-way", stage="Validate")
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(f"{serve.url}/jobs/job-1/")
        expect(page.get_by_role("progressbar")).to_have_attribute("value", "42.5")
        for text in ("Import", "In progress", "42%", "Validate", "Half-way"):
            expect(page.get_by_text(text, exact=True)).to_be_visible()
        page.goto(serve.url)
        expect(page.get_by_role("listitem")).to_contain_text("Half-way")


@pytest.mark.parametrize("where", first_quick(["/jobs/job-1/", "/"]))
def test_pages__show_text_as_text(where: str, page: Page, serve: Served, worker: Step) -> None:
    start_job(worker, name=HOSTILE)
    page.goto(serve.url + where)
    expect(page.locator("[data-part=name]")).to_have_text(HOSTILE)
    worker("job-1", "mark_progress", message=HOSTILE, stage=HOSTILE)
    expect(page.locator("[data-part=message]")).to_have_text(HOSTILE)
    expect(page.locator("[data-part=stage]")).to_have_text(HOSTILE)
    assert page.locator("main img").count() == 0


def test_pages__script_that_got_in_is_not_run(browser: Browser, serve: Served, worker: Step) -> None:
    """The tests' own eyes: a violation of the policy is reported, so that its absence elsewhere means something."""
    start_job(worker)
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{serve.url}/jobs/job-1/")
        with page.expect_console_message(lambda message: "Content Security Policy" in message.text):
            page.evaluate("document.body.insertAdjacentHTML('beforeend', '<p style=\"color:red\">')")


@pytest.mark.parametrize("where", first_quick(["/jobs/job-1/", "/"]))
def test_pages__fit_a_phone(where: str, page: Page, serve: Served, worker: Step) -> None:
    start_job(worker, name="Name" * 40)
    worker("job-1", "mark_progress", progress=10, message="Message" * 40, stage="Stage" * 20)
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(serve.url + where)
    expect(page.get_by_text(LIVE)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_job_page__unknown_hidden_and_malformed_are_alike(serve: Served, worker: Step) -> None:
    worker("hidden", "create", public=False)
    answers = {
        job_id: status_and_text(f"{serve.url}/jobs/{job_id}/") for job_id in ("hidden", "unknown", "-%00", "a b")
    }
    assert {status for status, _ in answers.values()} == {404}
    assert len({text for _, text in answers.values()}) == 1


def status_and_text(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url.replace(" ", "%20"), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_socket__a_browser_learns_how_it_was_closed(page: Page, serve: Served) -> None:
    """A reset of the connection behind the close would hide the code from it, or call it unclean."""
    page.goto(f"{serve.url}/")
    closed = page.evaluate(
        """() => new Promise((resolve) => {
            const socket = new WebSocket(`ws://${location.host}/progress/ws/nope`);
            socket.onclose = ({ code, wasClean }) => resolve([code, wasClean]);
        })"""
    )
    assert closed == [4504, True]
