"""`<job-progress>` in and out of pages that move, copy and change it."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Step
from tests.browser.helpers import GONE, LIVE, SHOWN, open_job_page, sockets_of, start_job
from tests.installation import Served
from tests.sampling import first_quick

# Notes all that the page shows from here on: the values of bars, and the words of connections.
WATCH = """() => {
    window.noted = {bars: [], words: []};
    const note = () => {
        for (const bar of document.querySelectorAll("progress")) noted.bars.push(Number(bar.getAttribute("value")));
        for (const words of document.querySelectorAll("[data-part=connection]")) noted.words.push(words.textContent);
    };
    const options = {subtree: true, childList: true, attributes: true, characterData: true};
    new MutationObserver(note).observe(document.documentElement, options);
}"""

# Leaves and comes back as with Turbo: the page that is put back is a copy, made when it was left.
LEAVE = """() => {
    window.copy = document.querySelector("main").cloneNode(true);
    document.querySelector("main").replaceChildren();
}"""

COME_BACK = f"""() => {{
    document.querySelector("main").replaceWith(copy);
    return ({SHOWN})();
}}"""


def test_element__that_is_moved_stays_live_on_its_socket(page: Page, serve: Served, worker: Step) -> None:
    opened = sockets_of(page)
    open_job_page(page, serve, worker)
    page.evaluate(WATCH)
    page.evaluate("""() => {
        const element = document.querySelector("job-progress");
        document.querySelector("header").append(element);
        document.querySelector("main").append(element);
        element.remove();
        document.querySelector("main").append(element);
    }""")
    worker("job-1", "mark_progress", progress=70)
    expect(page.locator("job-progress progress")).to_have_attribute("value", "70")
    noted = page.evaluate("noted")
    assert set(noted["words"]) == {"live"}
    assert noted["bars"] == sorted(noted["bars"])
    assert len(opened) == 1


def test_element__that_is_put_back_later_resumes_from_what_it_knows(page: Page, serve: Served, worker: Step) -> None:
    opened = sockets_of(page)
    open_job_page(page, serve, worker)
    with opened[0].expect_event("close"):
        page.evaluate("window.element = document.querySelector('job-progress'); element.remove()")
    assert page.evaluate("element.dataset.connection") == "stopped"
    worker("job-1", "mark_progress", progress=70)

    shown = page.evaluate(f"document.querySelector('main').append(element), ({SHOWN})()")
    assert re.fullmatch(r"reconnecting, as of \d\d:\d\d:\d\d", shown.pop("words"))
    assert shown == {"name": "Import", "bar": "60", "state": "reconnecting"}
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
    expect(page.locator("job-progress progress")).to_have_attribute("value", "70")
    assert opened[1].url.endswith("&seq=4")


def test_element__that_is_copied_goes_on_from_what_the_page_shows(page: Page, serve: Served, worker: Step) -> None:
    open_job_page(page, serve, worker)
    page.evaluate(WATCH)
    page.evaluate(LEAVE)
    worker("job-1", "mark_progress", progress=70)
    assert page.evaluate(COME_BACK) == {"name": "Import", "bar": "60", "state": "connecting", "words": "connecting"}
    expect(page.locator("job-progress progress")).to_have_attribute("value", "70")
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
    bars = page.evaluate("noted.bars")
    assert bars == sorted(bars)


@pytest.mark.slow
def test_element__that_is_copied_is_not_live_without_a_server(page: Page, serve: Served, worker: Step) -> None:
    open_job_page(page, serve, worker)
    page.evaluate(LEAVE)
    serve.kill()
    page.evaluate(COME_BACK)
    expect(page.locator("job-progress [data-part=connection]")).to_have_text("reconnecting")
    expect(page.locator("job-progress progress")).to_have_attribute("value", "60")


@pytest.mark.slow
def test_element__that_is_copied_knows_that_its_job_was_there(page: Page, serve: Served, worker: Step) -> None:
    open_job_page(page, serve, worker)
    page.evaluate(LEAVE)
    serve.site.worker("from jobs.models import ProcessingJob; ProcessingJob.objects.all().delete()")
    page.evaluate(COME_BACK)
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(GONE)


def test_element__that_is_copied_for_another_job_shows_nothing_of_the_first(
    page: Page, serve: Served, worker: Step
) -> None:
    open_job_page(page, serve, worker)
    page.evaluate(LEAVE)
    page.evaluate("copy.querySelector('job-progress').setAttribute('job-id', 'job-2')")
    assert page.evaluate(COME_BACK) == {"name": "", "bar": None, "state": "connecting", "words": "connecting"}
    start_job(worker, "job-2", name="Export")
    expect(page.locator("job-progress [data-part=name]")).to_have_text("Export")


INTO_THE_PAGE = {
    "as markup": "document.querySelector('main').innerHTML = '<job-progress job-id=job-1></job-progress>'",
    "from another document": """
        const made = new DOMParser().parseFromString('<job-progress job-id=job-1></job-progress>', 'text/html');
        document.querySelector('main').append(document.adoptNode(made.body.firstChild));
    """,
    "from a template": """
        const template = document.createElement('template');
        template.innerHTML = '<job-progress job-id=job-1></job-progress>';
        document.querySelector('main').append(template.content.cloneNode(true));
    """,
    "before its id": """
        const element = document.querySelector('main').appendChild(document.createElement('job-progress'));
        element.setAttribute('job-id', 'job-1');
    """,
}


@pytest.mark.parametrize("is_defined", first_quick([True, False]), ids=["defined before", "defined later"])
@pytest.mark.parametrize("how", first_quick(list(INTO_THE_PAGE), 2))
def test_element__is_live_however_it_comes_into_the_page(
    how: str, is_defined: bool, page: Page, serve: Served, worker: Step
) -> None:
    start_job(worker, name="Import")
    page.goto(serve.url)
    opened = sockets_of(page)
    steps = ["await import('/static/progress/job-progress.js');", f"{{ {INTO_THE_PAGE[how]} }}"]
    page.evaluate(f"async () => {{ {' '.join(steps if is_defined else reversed(steps))} }}")
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
    expect(page.locator("job-progress [data-part=name]")).to_have_text("Import")
    assert len(opened) == 1


def test_element__that_is_still_being_read_is_not_filled_before_it_is_whole(
    page: Page, serve: Served, worker: Step
) -> None:
    start_job(worker, name="Import")
    page.goto(f"{serve.url}/jobs/job-1/")
    page.evaluate("""() => {
        document.open();
        document.write("<main><job-progress job-id=job-1><b data-part=name></b>");
    }""")
    page.evaluate("""() => {
        document.write("<i data-part=connection></i></job-progress></main>");
        document.close();
    }""")
    expect(page.locator("job-progress > i")).to_have_text(LIVE)
    expect(page.locator("job-progress > b")).to_have_text("Import")
    expect(page.locator("job-progress > *")).to_have_count(2)


def test_element__goes_along_into_a_frame_and_hangs_up_in_a_document_that_nobody_sees(
    page: Page, serve: Served, worker: Step
) -> None:
    opened = sockets_of(page)
    open_job_page(page, serve, worker)
    page.evaluate("""() => {
        window.element = document.querySelector("job-progress");
        const frame = document.body.appendChild(document.createElement("iframe"));
        frame.contentDocument.body.append(frame.contentDocument.adoptNode(element));
    }""")
    worker("job-1", "mark_progress", progress=70)
    expect(page.frame_locator("iframe").locator("progress")).to_have_attribute("value", "70")
    assert len(opened) == 1
    with opened[0].expect_event("close"):
        page.evaluate("document.implementation.createHTMLDocument().body.append(element)")
    page.evaluate("document.querySelector('main').append(element)")
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
