"""`<job-progress>` in a page of one's own: what it shows, and of which job."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Step
from tests.browser.helpers import LIVE, SHOWN, open_job_page, sockets_of, start_job
from tests.installation import Served
from tests.sampling import first_quick

EMBED = """async (attributes) => {
    await import("/static/progress/job-progress.js");
    const element = document.createElement("job-progress");
    for (const [name, value] of Object.entries({"job-id": "job-1", ...attributes})) element.setAttribute(name, value);
    document.body.append(element);
}"""

SET_ID = """(id) => {
    const element = document.querySelector("job-progress");
    if (id === null) element.removeAttribute("job-id"); else element.setAttribute("job-id", id);
}"""


def test_element__shows_a_job_in_a_page_of_ones_own(page: Page, serve: Served, worker: Step) -> None:
    start_job(worker, name="Import")
    page.goto(serve.url)
    page.evaluate(EMBED, {})
    element = page.locator("job-progress")
    expect(element).to_contain_text("Import In progress")
    worker("job-1", "mark_progress", progress=42.0)
    expect(element.get_by_role("progressbar", name="Progress of Import")).to_have_attribute("value", "42")
    expect(element.locator("[data-part=connection]")).to_have_text(LIVE)


def test_element__waits_for_a_job_that_its_worker_makes_a_moment_later(page: Page, serve: Served, worker: Step) -> None:
    page.goto(serve.url)
    page.evaluate(EMBED, {})
    element = page.locator("job-progress")
    expect(element.locator("[data-part=connection]")).to_have_text("waiting for the job")
    expect(element.locator("progress")).to_be_hidden()
    start_job(worker, name="Import")
    expect(element.locator("[data-part=connection]")).to_have_text(LIVE)
    expect(element.get_by_role("progressbar", name="Progress of Import")).to_be_visible()


def test_element__of_an_unknown_job_says_so_without_a_bar(page: Page, serve: Served) -> None:
    page.goto(serve.url)
    page.evaluate(EMBED, {"wait-seconds": "1"})
    element = page.locator("job-progress")
    expect(element.locator("[data-part=connection]")).to_have_text("job not found")
    expect(element.locator("progress")).to_be_hidden()


# Its id


@pytest.mark.parametrize("job_id", first_quick(["a/b", None, "", "-x", "x" * 65, "a b"], 2), ids=repr)
def test_element__of_what_can_be_no_job_id_says_so_at_once(
    job_id: str | None, page: Page, serve: Served, worker: Step
) -> None:
    start_job(worker, name="Import")
    page.goto(serve.url)
    opened = sockets_of(page)
    page.evaluate(EMBED, {})
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
    set_id = (
        "(id) => document.querySelector('job-progress')[id === null ? 'removeAttribute' : 'setAttribute']('job-id', id)"
    )
    page.evaluate(set_id, job_id)
    not_found = {"name": "", "bar": None, "state": "stopped", "words": "job not found"}
    assert page.evaluate(SHOWN) == not_found
    expect(page.locator("job-progress progress")).to_be_hidden()

    page.evaluate("(html) => { document.querySelector('job-progress').outerHTML = html }", _markup(job_id))
    assert page.evaluate(SHOWN) == not_found
    assert len(opened) == 1

    page.evaluate(SET_ID, "job-1")
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
    expect(page.locator("job-progress progress")).to_be_visible()


def _markup(job_id: str | None) -> str:
    return "<job-progress></job-progress>" if job_id is None else f'<job-progress job-id="{job_id}"></job-progress>'


def test_element__follows_its_id_and_shows_nothing_late_of_the_job_before(
    page: Page, serve: Served, worker: Step
) -> None:
    start_job(worker, "job-2", name="Export")
    opened = sockets_of(page)
    open_job_page(page, serve, worker)
    page.evaluate("""() => {
        const element = document.querySelector("job-progress");
        const goOn = () => element.setAttribute("job-id", "job-2");
        element.addEventListener("job-change", goOn, {once: true}); // which is before the change is shown
    }""")
    with opened[0].expect_event("close"):
        worker("job-1", "mark_progress", progress=70, stage="Late")
    expect(page.locator("job-progress [data-part=name]")).to_have_text("Export")
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
    expect(page.locator("job-progress [data-part=stage]")).to_have_text("")
    expect(page.locator("job-progress [data-part=announcement]")).to_have_text("")
    expect(page.locator("job-progress progress")).to_have_attribute("value", "0")
    worker("job-2", "mark_progress", progress=30)
    expect(page.locator("job-progress progress")).to_have_attribute("value", "30")

    page.evaluate(SET_ID, "job-1")
    assert page.evaluate(SHOWN)["bar"] is None, "not what came with the page"
    expect(page.locator("job-progress progress")).to_have_attribute("value", "70")
