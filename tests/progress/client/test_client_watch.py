"""The client watches a job: what it sends to the server, and what it makes of the frames that come."""

from collections.abc import Callable

from tests.progress.client.following import Watcher
from tests.progress.scripted_server import ScriptedServer, log, output, progress, snapshot


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


async def test_watch__output_is_asked_for_by_message(server: ScriptedServer, follow: Callable[..., Watcher]) -> None:
    watcher = follow(output=True)
    first = await server.connection()
    assert await first.receive() == {"type": "subscribe", "job_id": "job-1", "output": True}
    await first.send(output(1), snapshot(1), output(2))
    assert await watcher.seqs(3) == [1, 1, 2]
    first.cut()
    second = await server.connection()
    assert (await second.receive())["since"] == {"epoch": "e1", "seq": 2}
    await second.send(output(2), output(3), snapshot(3, recovered=True))
    assert await watcher.seqs(2) == [3, 3]


async def test_watch__error_of_another_subject_changes_nothing(
    server: ScriptedServer, follow: Callable[..., Watcher]
) -> None:
    watcher = follow()
    connection = await server.connection()
    await connection.send({"type": "error", "error": "?", "code": "invalid_message", "temporary": False})
    await connection.send(snapshot(1, "completed"))
    assert await watcher.ends() == [1]
