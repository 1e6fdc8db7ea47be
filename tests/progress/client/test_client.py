import ast
import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from progress.client import connection as client
from progress.client.connection import Link, Position, ServerUnreachable, WatchRefused, address, backoff_delay, watch
from progress.conf import Conf
from tests.progress.scripted_server import ScriptedServer, log, progress, snapshot


@pytest.fixture
async def server() -> AsyncIterator[ScriptedServer]:
    async with ScriptedServer() as running:
        yield running


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BACKOFF_MIN", 0.0)


class Watcher:
    """A watch in the background, whose frames and changes of the link a test awaits."""

    def __init__(self, url: str, **options: Any) -> None:
        self.frames: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.links: asyncio.Queue[Link] = asyncio.Queue()
        self.task = asyncio.create_task(self._run(url, options))

    async def _run(self, url: str, options: dict[str, Any]) -> None:
        async for frame in watch(url, "job-1", on_link=self.links.put_nowait, **options):
            self.frames.put_nowait(frame)

    async def seqs(self, count: int) -> list[int]:
        return [(await asyncio.wait_for(self.frames.get(), 10))["seq"] for _ in range(count)]

    async def link(self) -> Link:
        return await asyncio.wait_for(self.links.get(), 10)

    async def ends(self) -> list[int]:
        """Wait for the end, and return the seq of the frames that were not looked at yet."""
        await asyncio.wait_for(self.task, 10)
        return [self.frames.get_nowait()["seq"] for _ in range(self.frames.qsize())]


@pytest.fixture
async def follow(server: ScriptedServer) -> AsyncIterator[Callable[..., Watcher]]:
    watchers: list[Watcher] = []

    def start(url: str = "", **options: Any) -> Watcher:
        watchers.append(Watcher(url or server.url, **options))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.task.cancel()
    await asyncio.gather(*(watcher.task for watcher in watchers), return_exceptions=True)


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


# Position


def test_position__drops_what_is_known_but_no_snapshot() -> None:
    position = Position("job-1")
    frames = [snapshot(5), progress(5), log(4), progress(6), log(7), progress(7), snapshot(7, recovered=True)]
    assert [position.accept(frame) for frame in frames] == [True, False, False, True, True, False, True]


def test_position__snapshot_of_another_stream_replaces_it() -> None:
    position = Position("job-1")
    position.accept(snapshot(50))
    assert position.accept(snapshot(2, epoch="e2"))
    assert position.since() == {"epoch": "e2", "seq": 2}


def test_position__ignores_other_jobs_and_unknown_types() -> None:
    position = Position("job-1")
    strangers = [snapshot(1, job_id="job-2"), {"type": "novelty", "job_id": "job-1", "seq": 9}, log(3, subject="x"), {}]
    assert not any(position.accept(frame) for frame in strangers)
    assert position.since() is None


# Address


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h:1", "ws://h:1/progress/ws/a.b"),
        ("wss://h/", "wss://h/progress/ws/a.b"),
        ("http://h:1/site/", "ws://h:1/site/progress/ws/a.b"),
        ("https://h", "wss://h/progress/ws/a.b"),
    ],
)
def test_address__of_a_site(url: str, expected: str) -> None:
    assert address(url, "a.b") == expected


def test_address__quotes_what_is_no_job_id() -> None:
    assert address("ws://h", "a/../b?c#d").endswith("/progress/ws/a%2F..%2Fb%3Fc%23d")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://h", "ws://", ""])
async def test_watch__no_address_is_a_value_error(url: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        await anext(watch(url, "job-1"))


async def test_watch__impossible_port_is_a_value_error() -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (the words are the library's)
        await anext(watch("ws://127.0.0.1:99999", "job-1"))


# Watching


async def test_watch__ends_with_the_job(server: ScriptedServer, follow: Callable[..., Watcher]) -> None:
    watcher = follow()
    connection = await server.connection()
    await connection.send(snapshot(1), progress(2), progress(3, "completed"))
    assert await watcher.ends() == [1, 2, 3]
    assert connection.path == "/progress/ws/job-1"
    await connection.closed()


async def test_watch__forever_outlives_the_end(server: ScriptedServer, follow: Callable[..., Watcher]) -> None:
    watcher = follow(forever=True)
    connection = await server.connection()
    await connection.send(snapshot(1, "failed"), progress(2, "queued"))
    assert await watcher.seqs(2) == [1, 2]


async def test_watch__drops_duplicates_and_ignores_the_unknown(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    connection = await server.connection()
    await connection.send(snapshot(4), progress(3), progress(4), "no json", "[1]", '"text"', {"type": "heartbeat"})
    await connection.send({"type": "novelty", "job_id": "job-1"}, progress(5, "completed", novelty=1))
    assert await watcher.ends() == [4, 5]


async def test_watch__token_goes_into_the_header(server: ScriptedServer, follow: Callable[..., Watcher]) -> None:
    tokens = iter(["first", "second"])
    follow(token=lambda: next(tokens))
    connection = await server.connection()
    assert connection.headers["Authorization"] == "Bearer first"
    await connection.close(4005)
    assert (await server.connection()).headers["Authorization"] == "Bearer second"


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4001, 4005, 4008, 4010, 4499, 4013])
async def test_watch__lost_connection_is_resumed_from_its_position(
    code: int, server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    first = await server.connection()
    await first.send(snapshot(1), progress(7))
    assert await watcher.seqs(2) == [1, 7]
    await first.close(code)
    second = await server.connection()
    assert second.query == {"epoch": "e1", "seq": "7"}
    await second.send(progress(7), progress(8), snapshot(8, recovered=True), progress(9, "completed"))
    assert await watcher.ends() == [8, 8, 9]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (4001, "the server is going away"),
        (4005, "the token has expired"),
        (4008, "too slow to read"),
        (4010, "the connection was closed (code 4010)"),
    ],
)
async def test_watch__lost_connection_is_explained(
    code: int, words: str, server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    await (await server.connection()).close(code)
    assert (await watcher.link()).reason == words


async def test_watch__cut_connection_is_resumed_and_told(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    first = await server.connection()
    await first.send(snapshot(1))
    assert (await watcher.link()).connected
    first.cut()
    lost = await watcher.link()
    assert not lost.connected
    assert lost.as_of is not None
    await (await server.connection()).send(snapshot(1, recovered=True))
    assert (await watcher.link()).connected


async def test_watch__end_within_a_replay_is_not_the_end(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    first = await server.connection()
    await first.send(snapshot(1))
    await watcher.seqs(1)
    first.cut()
    second = await server.connection()
    await second.send(progress(2, "failed"), progress(3, "queued"), snapshot(3, "queued", recovered=True))
    await second.send(progress(4, "cancelled"))
    assert await watcher.ends() == [2, 3, 3, 4]


@pytest.mark.parametrize(
    ("code", "word"),
    [(4500, "invalid_message"), (4503, "not_authenticated"), (4504, "job_not_found"), (4999, "invalid_message")],
)
async def test_watch__final_close_raises(
    code: int, word: str, server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    await (await server.connection()).close(code)
    with pytest.raises(WatchRefused) as raised:
        await watcher.ends()
    assert raised.value.code == word


async def test_watch__refusal_has_the_words_of_the_server(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    connection = await server.connection()
    await connection.send(
        {"type": "error", "error": "Job not found", "code": "job_not_found", "temporary": False, "subject": "job-1"}
    )
    await connection.close(4504)
    with pytest.raises(WatchRefused, match="Job not found"):
        await watcher.ends()


async def test_watch__error_of_another_subject_changes_nothing(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    connection = await server.connection()
    await connection.send({"type": "error", "error": "?", "code": "invalid_message", "temporary": False})
    await connection.send(snapshot(1, "completed"))
    assert await watcher.ends() == [1]


async def test_watch__logs_are_asked_for_by_message(server: ScriptedServer, follow: Callable[..., Watcher]) -> None:
    watcher = follow(logs=True)
    first = await server.connection()
    assert first.path == "/progress/ws"
    assert await first.receive() == {"type": "subscribe", "job_id": "job-1", "logs": True}
    await first.send(snapshot(1), log(2))
    assert await watcher.seqs(2) == [1, 2]
    first.cut()
    second = await server.connection()
    assert (await second.receive())["since"] == {"epoch": "e1", "seq": 2}


async def test_watch__temporary_refusal_by_message_is_tried_again(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    follow(logs=True)
    first = await server.connection()
    await first.send({"type": "error", "error": "Later", "code": "unavailable", "temporary": True, "subject": "job-1"})
    assert (await (await server.connection()).receive())["type"] == "subscribe"


async def test_watch__silent_link_is_dead(
    server: ScriptedServer, follow: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "GRACE_SECONDS", 0.05)
    watcher = follow(heartbeat_seconds=0.05)
    await server.connection()
    assert "no sign of life" in (await watcher.link()).reason
    await server.connection()


async def test_watch__backoff_grows_until_a_frame_comes(
    server: ScriptedServer, follow: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(client, "backoff_delay", lambda failures: asked.append(failures) or 0.0)
    watcher = follow()
    for _ in range(3):
        await (await server.connection()).close(4014)
    fourth = await server.connection()
    await fourth.send(snapshot(1))
    await watcher.seqs(1)
    fourth.cut()
    await server.connection()
    assert asked == [0, 1, 2, 0]


async def test_watch__waits_for_a_server(server: ScriptedServer, follow: Callable[..., Watcher]) -> None:
    await server.stop()
    watcher = follow(wait_for_server=True)
    assert (await watcher.link()).reason == "no server answers"
    await server.start(server.port)
    await (await server.connection()).send(snapshot(1, "completed"))
    assert await watcher.ends() == [1]


async def test_watch__says_at_once_that_there_is_no_server(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    await server.stop()
    with pytest.raises(ServerUnreachable, match="no server answers"):
        await follow(wait_for_server=False).ends()


@pytest.mark.parametrize("status", [400, 403, 451])
async def test_watch__http_refusal_is_final_and_http_trouble_is_not(
    status: int, server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    server.refusals = [503, 429, status]
    watcher = follow()
    assert "503" in (await watcher.link()).reason
    assert "429" in (await watcher.link()).reason
    with pytest.raises(WatchRefused) as raised:
        await watcher.ends()
    assert raised.value.code == f"http_{status}"


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
    assert client._connect(url, Position("job-1"), None, logs=False) is proxy


# The module


def test_client__needs_no_django() -> None:
    code = "import sys, progress.client.connection; print({name.split('.')[0] for name in sys.modules})"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"django", "jobs"} & ast.literal_eval(printed)


def test_client__expects_the_heartbeat_of_the_server() -> None:
    assert client.HEARTBEAT_SECONDS == Conf.HEARTBEAT_SECONDS
