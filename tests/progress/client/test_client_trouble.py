"""What the client does when its connection is lost, when it is refused, and when no server answers."""

from collections.abc import Callable

import pytest

from progress.client import connection as client
from progress.client.connection import ServerUnreachable, WatchRefused
from tests.progress.client.following import Watcher
from tests.progress.scripted_server import ScriptedServer, progress, snapshot

# Lost


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
    assert (await watcher.state()).reason == words


async def test_watch__cut_connection_is_resumed_and_told(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    first = await server.connection()
    await first.send(snapshot(1))
    assert (await watcher.state()).connected
    first.cut()
    lost = await watcher.state()
    assert not lost.connected
    assert lost.as_of is not None
    await (await server.connection()).send(snapshot(1, recovered=True))
    assert (await watcher.state()).connected


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


async def test_watch__silent_link_is_dead(
    server: ScriptedServer, follow: Callable[..., Watcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "GRACE_SECONDS", 0.05)
    watcher = follow(heartbeat_seconds=0.05)
    await server.connection()
    assert "no sign of life" in (await watcher.state()).reason
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


# Refused


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


async def test_watch__temporary_refusal_by_message_is_tried_again(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    follow(logs=True)
    first = await server.connection()
    await first.send({"type": "error", "error": "Later", "code": "unavailable", "temporary": True, "subject": "job-1"})
    assert (await (await server.connection()).receive())["type"] == "subscribe"


@pytest.mark.parametrize("status", [400, 403, 451])
async def test_watch__http_refusal_is_final_and_http_trouble_is_not(
    status: int, server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    server.refusals = [503, 429, status]
    watcher = follow()
    assert "503" in (await watcher.state()).reason
    assert "429" in (await watcher.state()).reason
    with pytest.raises(WatchRefused) as raised:
        await watcher.ends()
    assert raised.value.code == f"http_{status}"


# No server


async def test_watch__waits_for_a_server(server: ScriptedServer, follow: Callable[..., Watcher]) -> None:
    await server.stop()
    watcher = follow(wait_for_server=True)
    assert (await watcher.state()).reason == "no server answers"
    await server.start(server.port)
    await (await server.connection()).send(snapshot(1, "completed"))
    assert await watcher.ends() == [1]


async def test_watch__says_at_once_that_there_is_no_server(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    await server.stop()
    with pytest.raises(ServerUnreachable, match="no server answers"):
        await follow(wait_for_server=False).ends()
