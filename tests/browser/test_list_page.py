"""The list of recent jobs in a real browser, against a real server, with jobs moved by another process."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Step
from tests.browser.helpers import LIVE, RETURN, SECONDS, mark_page, start_job, was_never_reloaded
from tests.installation import Served
from tests.sampling import first_quick


def test_list__shows_a_new_job_and_its_bar_moving(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker, "old", name="Old")
    page.goto(serve.url)
    expect(page.locator("#connection")).to_have_text(LIVE)
    start_job(worker, "new", name="New")
    rows = page.get_by_role("listitem")
    expect(rows).to_have_count(2)
    expect(rows.first.get_by_role("link", name="New")).to_have_attribute("href", "/jobs/new/")

    for job_id, name, value in (("new", "New", "30"), ("old", "Old", "70"), ("new", "New", "31")):
        worker(job_id, "mark_progress", progress=float(value))
        expect(page.get_by_role("progressbar", name=f"Progress of {name}")).to_have_attribute("value", value)
    worker("new", "mark_completed")
    expect(rows.first.locator("[data-part=status]")).to_have_text("Completed")
    worker("old", "mark_failed", message="No answer")
    expect(rows.last.locator("[data-part=status]")).to_have_text("Failed")


def test_list__first_job_takes_the_place_of_the_note(page: Page, serve: Served, worker: Step) -> None:
    page.goto(serve.url)
    note = page.locator("[data-part=empty]")
    expect(note).to_be_visible()
    start_job(worker)
    expect(page.get_by_role("listitem")).to_have_count(1)
    expect(note).to_be_hidden()


@pytest.mark.slow
def test_list__retried_job_moves_again(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker)
    worker("job-1", "mark_failed")
    page.goto(serve.url)
    expect(page.locator("#connection")).to_have_text(LIVE)
    worker("job-1", "retry")
    worker("job-1", "mark_started")
    expect(page.locator("[data-part=status]")).to_have_text("In progress")
    worker("job-1", "mark_progress", progress=15)
    expect(page.locator("[data-part=rows] progress")).to_have_attribute("value", "15")


LARGE = {
    "results": "job.mark_completed(result='x' * 15_000)",
    "metadata": "job.mark_completed(metadata={'mine': 'x' * 15_000})",
}


@pytest.mark.parametrize("what", first_quick(list(LARGE)))
def test_list__keeps_its_rows_once_live_though_the_jobs_are_large(what: str, page: Page, serve: Served) -> None:
    serve.site.worker(f"""
        from jobs.lifecycle import ProcessingJobLifecycle
        for number in range(50):
            job = ProcessingJobLifecycle.create(f"job-{{number}}", public=True)
            job.mark_started()
            {LARGE[what]}
    """)
    page.goto(serve.url)
    expect(page.locator("#connection")).to_have_text(LIVE)
    page.wait_for_timeout(0.2 * SECONDS)  # for the rows to be shown, were any to go
    expect(page.get_by_role("listitem")).to_have_count(50)


def test_list__goes_on_after_the_server_was_killed(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker)
    page.goto(serve.url)
    connection, bar = page.locator("#connection"), page.locator("[data-part=rows] progress").last
    expect(connection).to_have_text(LIVE)
    mark_page(page)
    serve.kill()
    expect(connection).to_have_text(re.compile(r"^reconnecting, as of "))
    worker("job-1", "mark_progress", progress=40)
    start_job(worker, "job-2")

    serve.start()
    expect(connection).to_have_text(LIVE, timeout=RETURN)
    expect(page.get_by_role("listitem")).to_have_count(2)
    expect(bar).to_have_attribute("value", "40")
    worker("job-1", "mark_progress", progress=60)
    expect(bar).to_have_attribute("value", "60")
    assert was_never_reloaded(page)


def test_list__job_is_reached_by_keyboard(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker, name="Import")
    page.goto(serve.url)
    for _ in range(3):  # skip link, home, the row
        page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Import")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{serve.url}/jobs/job-1/")
    expect(page.locator("[data-part=connection]")).to_have_text(LIVE)
