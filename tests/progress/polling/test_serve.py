"""Polls of a real server, by clients of the standard library and by curl."""

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from concurrent.futures import Future, ThreadPoolExecutor
from signal import SIGTERM
from typing import Any

import pytest

from tests.documents import FENCE, section
from tests.installation import COMMAND_SECONDS, Served, Site
from tests.progress.polling.asking import seqs, url

CREATE = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle.create(sys.argv[1], public=True)
job.mark_started()
"""
TICK = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle(sys.argv[1])
job.mark_progress(float(sys.argv[2]))
"""
END = """
import sys
from jobs.lifecycle import ProcessingJobLifecycle
job = ProcessingJobLifecycle(sys.argv[1])
for number in range(300):
    job.mark_progress(number / 3)
job.mark_completed()
"""
ALIVE_SECONDS = 0.5  # in which a request has come to wait, after others have that were sent before it


def get(served: Served, where: str) -> tuple[int, dict[str, str], Any]:
    """Return the status, the headers and the JSON of an answer."""
    try:
        with urllib.request.urlopen(served.url + where, timeout=COMMAND_SECONDS) as response:
            return response.status, dict(response.headers), json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), json.load(error)


def later(pool: ThreadPoolExecutor, served: Served, where: str) -> "Future[tuple[int, dict[str, str], Any]]":
    return pool.submit(get, served, where)


def follow(served: Served, job_id: str, known: Any) -> list[int]:
    seen: list[int] = []
    while not known["end"]:
        wave = {} if known["wave"] is None else {"wave": known["wave"]}
        _, _, known = get(served, url(job_id, known, **wave))
        seen += seqs(known)
    return seen


def test_wait__is_answered_by_the_event(site: Site) -> None:
    served = site.serve()
    site.worker(CREATE, "job-1")
    _, headers, stands = get(served, url("job-1"))
    assert "Vary" not in headers
    assert "Set-Cookie" not in headers
    with ThreadPoolExecutor(20) as pool:
        waiting = [later(pool, served, url("job-1", stands, wave=stands["wave"] + 1)) for _ in range(20)]
        time.sleep(ALIVE_SECONDS)
        assert not any(each.done() for each in waiting)
        site.worker(TICK, "job-1", "50")
        answers = [each.result() for each in waiting]
    assert {seqs(answer)[0] for _, _, answer in answers} == {stands["seq"] + 1}
    assert len({json.dumps(answer) for _, _, answer in answers}) == 1


@pytest.mark.slow
def test_every_event__comes_once_and_in_order(sqlite_site: Site) -> None:
    served = sqlite_site.serve()
    sqlite_site.worker(CREATE, "job-1")
    _, _, stands = get(served, url("job-1"))
    with ThreadPoolExecutor(10) as pool:
        followers = [pool.submit(follow, served, "job-1", {**stands, "seq": 0}) for _ in range(10)]
        sqlite_site.worker(END, "job-1")
        everything = [event["seq"] for event in sqlite_site.events("job-1")]
        assert [each.result() for each in followers] == [everything] * 10


def test_drain__answers_every_wait_at_once(sqlite_site: Site) -> None:
    served = sqlite_site.serve()
    sqlite_site.worker(CREATE, "job-1")
    _, _, stands = get(served, url("job-1"))
    with ThreadPoolExecutor(20) as pool:
        where = url("job-1", stands, wave=stands["wave"] + 1), url("job-1", stands, "private", wave=stands["wave"] + 1)
        waiting = [later(pool, served, where[number % 2]) for number in range(20)]
        time.sleep(ALIVE_SECONDS)
        began = time.monotonic()
        served.signal(SIGTERM)
        answers = [each.result() for each in waiting]
        took = time.monotonic() - began
        assert served.wait() == 0
    assert all((status, answer["events"]) == (200, []) for status, _, answer in answers)
    assert all(answer["wave"] >= stands["wave"] + 1 for _, _, answer in answers)
    assert took < 3


@pytest.mark.slow
def test_client_that_goes__leaves_its_place(sqlite_site: Site) -> None:
    served = sqlite_site.serve(PROGRESS_MAX_WAITS="1")
    sqlite_site.worker(CREATE, "job-1")
    _, _, stands = get(served, url("job-1"))
    request = f"GET {url('job-1', stands, wave=stands['wave'] + 1)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", served.port)) as first:
        first.sendall(request)
        time.sleep(ALIVE_SECONDS)
        assert is_refused(served, request)
    deadline = time.monotonic() + COMMAND_SECONDS
    while is_refused(served, request):
        assert time.monotonic() < deadline


def is_refused(served: Served, request: bytes) -> bool:
    """Return whether somebody else waits, so that one more is refused at once."""
    with socket.create_connection(("127.0.0.1", served.port)) as link:
        link.sendall(request)
        link.settimeout(ALIVE_SECONDS)
        try:
            return b" 429 " in link.recv(100)
        except TimeoutError:
            return False


@pytest.mark.parametrize("kind", ["serve", "daphne", "uvicorn", "hypercorn", "runserver"])
@pytest.mark.slow
def test_server__whichever_waits_and_answers_head(sqlite_site: Site, kind: Any) -> None:
    served = sqlite_site.serve(kind=kind)
    sqlite_site.worker(CREATE, "job-1")
    _, _, stands = get(served, url("job-1"))
    with ThreadPoolExecutor(1) as pool:
        waiting = later(pool, served, url("job-1", stands, wave=stands["wave"] + 1))
        time.sleep(ALIVE_SECONDS)
        sqlite_site.worker(TICK, "job-1", "50")
        assert seqs(waiting.result()[2]) == [stands["seq"] + 1]
    head = urllib.request.Request(served.url + url("job-1"), method="HEAD")
    with urllib.request.urlopen(head, timeout=COMMAND_SECONDS) as response:
        assert (response.status, response.read()) == (200, b"")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl: install it")
def test_example__of_the_page_follows_a_job_with_curl(sqlite_site: Site) -> None:
    served = sqlite_site.serve()
    sqlite_site.worker(CREATE, "import-42")
    (script,) = [
        text for language, text in FENCE.findall(section("docs/protocol.md", "The client's rules")) if not language
    ]
    script = script.replace("http://localhost:8000", served.url)
    with subprocess.Popen(["bash", "-c", script], stdout=subprocess.PIPE, text=True) as following:
        try:
            time.sleep(ALIVE_SECONDS)
            sqlite_site.worker(END, "import-42")
            printed, _ = following.communicate(timeout=COMMAND_SECONDS)
        finally:
            following.kill()
    seen = [seq for line in printed.splitlines() for seq in seqs(json.loads(line))]
    assert seen == list(range(seen[0], sqlite_site.job("import-42")["seq"] + 1))
