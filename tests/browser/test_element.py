"""`<job-progress>` in pages of one's own, which move, copy and change it."""

import re

import pytest
from playwright.sync_api import Page, WebSocket, expect

from tests.browser.conftest import Step
from tests.browser.helpers import GONE, LIVE, start_job
from tests.installation import Served

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


def sockets_of(page: Page) -> list[WebSocket]:
    """Return a list that gets each socket for a job that the page opens from here on."""
    opened: list[WebSocket] = []
    page.on("websocket", lambda socket: opened.append(socket) if "/progress/ws/" in socket.url else None)
    return opened


def open_job_page(page: Page, serve: Served, worker: Step, progress: float = 60) -> None:
    """Show a job that was at 10 % when the page was made, and is further by now."""
    start_job(worker, name="Import")
    worker("job-1", "mark_progress", progress=10)
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(page.locator("job-progress [data-part=connection]")).to_have_text(LIVE)
    worker("job-1", "mark_progress", progress=progress)
    expect(page.locator("job-progress progress")).to_have_attribute("value", f"{progress:g}")


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


# In and out of the page


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


def test_element__that_is_copied_is_not_live_without_a_server(page: Page, serve: Served, worker: Step) -> None:
    open_job_page(page, serve, worker)
    page.evaluate(LEAVE)
    serve.kill()
    page.evaluate(COME_BACK)
    expect(page.locator("job-progress [data-part=connection]")).to_have_text("reconnecting")
    expect(page.locator("job-progress progress")).to_have_attribute("value", "60")


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


@pytest.mark.parametrize("is_defined", [True, False], ids=["defined before", "defined later"])
@pytest.mark.parametrize("how", INTO_THE_PAGE)
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


# Its id


@pytest.mark.parametrize("job_id", ["a/b", "", "-x", "x" * 65, "a b", None], ids=repr)
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
