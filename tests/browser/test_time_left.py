"""Time left, silence and where a usual run would be, in a real browser, against a real server.

What the server does not say yet of these jobs is put into its frames on their way to the page, and the server's time is
as it would be so much later.
"""

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from playwright.sync_api import Page, WebSocketRoute, expect

from tests.browser.conftest import Step
from tests.browser.helpers import LIVE, SECONDS, start_job
from tests.browser.test_element import EMBED
from tests.installation import Served
from tests.sampling import first_quick

USUAL = {"runs": 12, "seconds": [220.0, 245.0, 270.0], "curve": [*range(3, 96, 3), 100]}
LEARNED = {"attempt": 1, "stage": "Write orders", "eta_seconds": 101.0, "time_left": {"low": 80, "high": 130}}
LEFT = re.compile(r"^1:\d\d left$")
SILENT = re.compile(r"^No report for [34]\d s$")
NOW_AT = re.compile(r"a usual run would be at 5\d%")
TOOK = "the last 12 runs took 3:40–4:30"
# A clock that is five minutes slow, as the page sees it.
WRONG_CLOCK = """
    const real = Date.now.bind(Date), Real = Date;
    globalThis.Date = class extends Real {
        constructor(...parts) { super(...(parts.length ? parts : [real() - 300_000])); }
        static now() { return real() - 300_000; }
    };
"""


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


class Told:
    """What is put into the frames of a page's socket: beside the state of a job, and into its metadata."""

    def __init__(self, page: Page) -> None:
        self.about: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        page.route_web_socket("**/progress/ws**", self._serve)

    def _serve(self, socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()
        server.on_message(lambda text: socket.send(json.dumps(self._changed(json.loads(str(text))))))

    def _changed(self, frame: dict[str, Any]) -> dict[str, Any]:
        if frame["type"] == "feed":
            return {**frame, "jobs": [self._told(entry) for entry in frame["jobs"]]}
        return self._told(frame) if frame["type"] in ("snapshot", "progress") else frame

    def _told(self, job: dict[str, Any]) -> dict[str, Any]:
        about = {} if job.get("type") == "progress" else self.about
        return {**job, **about, **self.state, "metadata": {**job["metadata"], **self.metadata}}


@pytest.fixture
def told(page: Page) -> Told:
    return Told(page)


def running(told: Told, silent: float = 0, started: float = 122, **metadata: Any) -> None:
    """Have the job told as one that began and reported so long ago, and of which earlier runs are known."""
    told.about = {"started_at": ago(started), "usual": USUAL, "max_silence": 30}
    told.state = {"progress": 61.0, "timestamp": ago(silent)}
    told.metadata = {**LEARNED, **metadata}


def part(page: Page, name: str) -> Any:
    return page.locator(f"[data-part={name}]").first


def test_job_page__time_left_its_range_and_where_a_usual_run_would_be(
    page: Page, told: Told, serve: Served, worker: Step
) -> None:
    start_job(worker, name="Import")
    running(told, started=124)
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(part(page, "left")).to_have_text(LEFT)
    expect(part(page, "usual")).to_have_text(TOOK)
    bar = page.get_by_role("progressbar", name="Progress of Import")
    expect(bar).to_have_attribute("aria-valuetext", re.compile(f"^61%, {NOW_AT.pattern}$"))
    mark, whole = part(page, "usual-mark").bounding_box(), bar.bounding_box()
    assert mark is not None
    assert whole is not None
    assert (mark["x"] + 1 - whole["x"]) / whole["width"] == pytest.approx(0.53, abs=0.05)
    expect(part(page, "connection")).to_have_text(LIVE)


def test_job_page__no_report_in_place_of_the_time_left_and_nothing_is_called_live(
    page: Page, told: Told, serve: Served, worker: Step
) -> None:
    start_job(worker, name="Import")
    running(told, silent=22)
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(part(page, "connection")).to_have_text(LIVE)
    expect(part(page, "left")).to_have_text(SILENT, timeout=20 * SECONDS)
    expect(part(page, "connection")).to_have_text("connected")
    expect(part(page, "announcement")).to_have_text("Import: In progress, no report")
    before = part(page, "left").inner_text()
    expect(part(page, "left")).not_to_have_text(before)
    expect(part(page, "announcement")).to_have_text("Import: In progress, no report")

    running(told)
    worker("job-1", "mark_progress", progress=61)
    expect(part(page, "left")).to_have_text(LEFT)
    expect(part(page, "connection")).to_have_text(LIVE)
    expect(part(page, "announcement")).to_have_text("Import: In progress")


def test_job_page__stalled_says_what_will_happen_once_and_goes_away_by_itself(
    page: Page, told: Told, serve: Served, worker: Step
) -> None:
    start_job(worker, name="Import")
    running(told)
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(part(page, "left")).to_have_text(LEFT)
    at = datetime.now().astimezone() + timedelta(seconds=60)
    stalled = {"since": ago(34), "then": "requeue", "at": at.astimezone(UTC).isoformat(), "attempt": 3, "of": 3}
    running(told, stalled=stalled)
    worker("job-1", "mark_progress", progress=61)
    expect(part(page, "status")).to_have_text("Stalled")
    expect(part(page, "left")).to_have_text(SILENT)
    expect(part(page, "then")).to_have_text(
        f"If the worker stays silent, the job is queued again at {page.evaluate(CLOCK, at.timestamp() * 1000)}"
        " as attempt 3 of 3."
    )
    expect(part(page, "announcement")).to_have_text("Import: Stalled")
    expect(part(page, "connection")).to_have_text("connected")
    expect(page).to_have_title("Stalled · Import")

    running(told)
    worker("job-1", "mark_progress", progress=62)
    expect(part(page, "status")).to_have_text("In progress")
    expect(part(page, "then")).to_be_hidden()
    expect(part(page, "left")).to_have_text(LEFT)
    expect(part(page, "connection")).to_have_text(LIVE)


CLOCK = "(at) => import('/static/progress/format.js').then(({momentWords}) => momentWords(new Date(at)))"


def test_job_page__longer_than_usual_is_said_once(page: Page, told: Told, serve: Served, worker: Step) -> None:
    start_job(worker, name="Import")
    running(told, started=268)
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(part(page, "left")).to_have_text("longer than usual")
    expect(part(page, "usual")).to_have_text(TOOK)
    expect(part(page, "announcement")).to_have_text("Import: In progress, longer than usual")


@pytest.mark.parametrize("where", first_quick(["/jobs/job-1/", "/"]))
def test_pages__go_by_the_servers_clock(where: str, page: Page, told: Told, serve: Served, worker: Step) -> None:
    page.add_init_script(WRONG_CLOCK)
    start_job(worker)
    running(told, silent=32)
    page.goto(serve.url + where)
    expect(part(page, "left")).to_have_text(SILENT)
    running(told)
    worker("job-1", "mark_progress", progress=61)
    expect(part(page, "left")).to_have_text(LEFT)


@pytest.mark.slow
def test_job_page__lost_connection_leaves_no_time_left(page: Page, told: Told, serve: Served, worker: Step) -> None:
    start_job(worker)
    running(told)
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(part(page, "left")).to_have_text(LEFT)
    serve.kill()
    expect(part(page, "left")).to_be_hidden()


def test_list__says_the_same_and_its_bar_is_marked(page: Page, told: Told, serve: Served, worker: Step) -> None:
    start_job(worker, name="Import")
    running(told)
    page.goto(serve.url)
    row = page.get_by_role("listitem")
    expect(row.locator("[data-part=left]")).to_have_text(LEFT)
    expect(row.locator("[data-part=usual-mark]")).to_be_visible()
    stalled = {"since": ago(34), "then": "leave"}
    running(told, stalled=stalled)
    worker("job-1", "mark_progress", progress=61)
    expect(row.locator("[data-part=status]")).to_have_text("Stalled")
    expect(row.locator("[data-part=left]")).to_have_text(SILENT)
    expect(part(page, "announcement")).to_have_text("Import: Stalled")
    expect(page.locator("#connection")).to_have_text(LIVE)


@pytest.mark.slow
def test_element__in_a_page_of_ones_own_says_it_in_words(page: Page, told: Told, serve: Served, worker: Step) -> None:
    start_job(worker, name="Import")
    running(told, started=124, stalled={"since": ago(34), "then": "leave"})
    page.goto(serve.url)
    page.evaluate(EMBED, {})
    element = page.locator("job-progress")
    for words in ("Stalled", "No report for ", TOOK, NOW_AT, "nothing is done by itself"):
        expect(element).to_contain_text(words)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["/jobs/job-1/", "/"])
def test_pages__with_all_of_it_fit_a_phone(where: str, page: Page, told: Told, serve: Served, worker: Step) -> None:
    start_job(worker, name="Name" * 40)
    stalled = {"since": ago(34_000), "then": "requeue", "at": ago(-60), "attempt": 3, "of": 3}
    running(told, stage="Stage" * 20, current=30_512, total=50_000, unit="rows", stalled=stalled)
    page.set_viewport_size({"width": 320, "height": 640})
    page.goto(serve.url + where)
    expect(part(page, "left")).to_have_text("No report for 9 h 27 min")
    assert page.evaluate("document.documentElement.scrollWidth") == 320


@pytest.mark.slow
def test_pages__of_an_old_server_look_as_before(page: Page, told: Told, serve: Served, worker: Step) -> None:
    start_job(worker, name="Import")
    told.metadata = {"eta_seconds": 80.0}
    told.state = {"progress": 61.0, "timestamp": ago(0)}
    page.goto(f"{serve.url}/jobs/job-1/")
    expect(part(page, "left")).to_have_text(re.compile(r"^1 min \d+ s left$"))
    for name in ("usual", "usual-mark", "then"):
        expect(part(page, name)).to_be_hidden()
    assert page.locator("progress").get_attribute("aria-valuetext") is None
