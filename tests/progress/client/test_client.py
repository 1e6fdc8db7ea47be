"""What the client decides without a server: when it tries again, what it knows already, where it connects to."""

import ast
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.client import connection as client
from progress.client.connection import Cursor, backoff_delay, socket_url, watch
from progress.conf import Conf
from tests.progress.scripted_server import backscroll, log, output, progress, snapshot

# Backoff


@pytest.fixture
def _documented_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF_MIN", 0.5)


@pytest.mark.usefixtures("_documented_backoff")
@pytest.mark.parametrize(("failures", "longest"), [(0, 1.0), (1, 1.5), (2, 2.5), (5, 16.5), (6, 20.0), (10_000, 20.0)])
def test_backoff_delay__grows_to_its_bound(failures: int, longest: float) -> None:
    assert backoff_delay(failures, lambda low, high: high) == longest
    assert backoff_delay(failures, lambda low, high: low) == 0.5


@given(failures=st.integers(0, 100))
def test_backoff_delay__stays_within_bounds(failures: int) -> None:
    assert 0 <= backoff_delay(failures) <= 20


# Cursor


def test_cursor__drops_what_is_known_but_no_snapshot() -> None:
    cursor = Cursor("job-1")
    frames = [snapshot(5), progress(5), log(4), progress(6), log(7), progress(7), snapshot(7, recovered=True)]
    assert [cursor.accept(frame) for frame in frames] == [True, False, False, True, True, False, True]
    assert [cursor.accept(frame) for frame in (output(7), output(8), output(8))] == [False, True, False]


def test_cursor__snapshot_of_another_stream_replaces_it() -> None:
    cursor = Cursor("job-1")
    cursor.accept(snapshot(50))
    assert cursor.accept(snapshot(2, epoch="e2"))
    assert cursor.since() == {"epoch": "e2", "seq": 2}


def test_cursor__lines_of_the_same_stream_come_once_and_of_another_all() -> None:
    cursor = Cursor("job-1")
    assert cursor.accept(backscroll())
    assert cursor.accept(log(3))
    assert cursor.since() == {"epoch": "e1", "seq": 3}
    assert [cursor.accept(frame) for frame in (backscroll(), log(3), log(4), snapshot(9))] == [True, False, True, True]
    assert [cursor.accept(frame) for frame in (backscroll(epoch="e2"), log(2))] == [True, True]
    assert cursor.since() == {"epoch": "e2", "seq": 2}


def test_cursor__ignores_other_jobs_and_unknown_types() -> None:
    cursor = Cursor("job-1")
    strangers = [snapshot(1, job_id="job-2"), {"type": "novelty", "job_id": "job-1", "seq": 9}, log(3, subject="x"), {}]
    assert not any(cursor.accept(frame) for frame in strangers)
    assert cursor.since() is None


# The URL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h:1", "ws://h:1/progress/ws/a.b"),
        ("wss://h/", "wss://h/progress/ws/a.b"),
        ("http://h:1/site/", "ws://h:1/site/progress/ws/a.b"),
        ("https://h", "wss://h/progress/ws/a.b"),
    ],
)
def test_socket_url__of_a_site(url: str, expected: str) -> None:
    assert socket_url(url, "a.b") == expected


def test_socket_url__quotes_what_is_no_job_id() -> None:
    assert socket_url("ws://h", "a/../b?c#d").endswith("/progress/ws/a%2F..%2Fb%3Fc%23d")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://h", "ws://", ""])
async def test_watch__what_is_not_a_url_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="is not a URL"):
        await anext(watch(url, "job-1"))


async def test_watch__impossible_port_is_a_value_error() -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the words are the library's)
        await anext(watch("ws://127.0.0.1:99999", "job-1"))


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("ws://localhost:8000", None),
        ("ws://127.0.0.2:8000", None),
        ("ws://[::1]:8000", None),
        ("wss://example.com", True),
        ("ws://10.0.0.1", True),
    ],
)
def test_connect__a_proxy_is_for_other_machines_only(url: str, proxy: bool | None, monkeypatch: Any) -> None:
    """``True`` asks the environment for it."""
    monkeypatch.setattr(client, "connect", lambda _, **options: options["proxy"])
    assert client._connect(url, Cursor("job-1"), None, {}) is proxy


# The module


def test_client__needs_no_django() -> None:
    code = "import sys, progress.client.connection; print({name.split('.')[0] for name in sys.modules})"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"django", "jobs"} & ast.literal_eval(printed)


def test_client__expects_the_heartbeat_of_the_server() -> None:
    assert client.HEARTBEAT_SECONDS == Conf.HEARTBEAT_SECONDS
