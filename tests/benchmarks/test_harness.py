"""The benchmarks run: a server, a load client, and a report that says that all came."""

from collections.abc import Iterator

import pytest

from benchmarks import harness, payload, site, strangers
from benchmarks.attack import WAYS
from benchmarks.harness import Server
from benchmarks.peers import catalogue
from tests.installation import Site
from tests.sampling import first_quick

WATCHERS, EVENTS = 20, 40


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """An installation with the job of the benchmarks, and two more."""
    made = site.installed(tmp_path_factory.mktemp("bench"))
    for number in range(2):
        made.worker(site.MAKE_JOB, f"own-{number}")
    return made


@pytest.fixture(scope="module")
def serving(place: Site) -> Iterator[Server]:
    """Our server, as the benchmarks start it."""
    with harness.serving(catalogue.ours(place.env), place.folder) as server:
        yield server


def test_run__full_speed(serving: Server) -> None:
    report = harness.run(serving, {"watchers": WATCHERS, "events": EVENTS})
    assert (report["got"], report["lost"], report["problems"]) == (WATCHERS * EVENTS, 0, {})
    assert report["rate"] > 0
    assert report["server_seconds"] > 0
    assert report["peak_rss"] >= report["idle_rss"] > 0


def test_run__slow_watchers_with_jobs_of_their_own(serving: Server) -> None:
    own = {"own_jobs": 2, "stalled": 2, "own_url": serving.url_of("own-{}")}
    report = harness.run(serving, {"watchers": WATCHERS, "events": EVENTS, "rate": 200, "stamping": True, **own})
    assert (report["got"], report["lost"], report["problems"]) == ((WATCHERS - 2) * EVENTS, 0, {})
    assert report["slow"] == {"caught up": 2}
    assert len(report["latencies"]) == (WATCHERS - 2) * EVENTS


def test_run__real_writes_then_a_recovery(place: Site, serving: Server) -> None:
    written = {"watchers": WATCHERS, "events": EVENTS, "writes": 1, "loose": True}
    assert harness.run(serving, written)["got"] == WATCHERS * EVENTS
    url = f"{serving.url}?epoch={place.job(payload.JOB)['epoch']}&seq={payload.BASE}"
    resuming = {"trigger": "none", "resumes": True, "loose": True, "url": url}
    report = harness.run(serving, {"watchers": WATCHERS, "events": EVENTS, **resuming})
    assert (report["got"], report["lost"], report["problems"]) == (WATCHERS * EVENTS, 0, {})


def test_run__a_peer_that_loses_events_fails(serving: Server) -> None:
    with pytest.raises(harness.Lost, match="lost"):
        # More are waited for than the server is told to send.
        harness.run(serving, {"watchers": WATCHERS, "events": EVENTS, "trigger": "none", "patience": 0.2})


@pytest.mark.parametrize("way", first_quick([way for way in WAYS if way != strangers.SILENT]))
def test_attack__takes_the_server_at_its_word(serving: Server, way: str) -> None:
    with strangers.attack(serving, way) as done:
        report = harness.run(serving, {"watchers": WATCHERS, "events": EVENTS, "rate": 200})
    assert (report["got"], report["lost"], report["problems"]) == (WATCHERS * EVENTS, 0, {})
    assert done["opened"] >= WAYS[way].connections
    assert done["sent"] > 0 or not WAYS[way].filling
