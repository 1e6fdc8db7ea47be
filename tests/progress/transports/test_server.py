"""What the frame writer relies on below Daphne, and that frames are never mixed, on a real socket."""

import asyncio
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from progress.transports.daphne.server import ProgressServer, ServeCommandLine, _accept_one, _completed, _spacing


def test_endpoint__is_completed_where_it_says_nothing() -> None:
    assert _completed("tcp:port=1:interface=::1") == "tcp:port=1:interface=::1:backlog=4096"
    assert _completed("tcp6:port=1") == "tcp6:port=1:backlog=4096"
    assert _completed("tcp:port=1:backlog=7") == "tcp:port=1:backlog=7"
    assert _completed("unix:/run/site.sock") == "unix:/run/site.sock:backlog=4096:mode=660"
    assert _completed("unix:/run/site.sock:mode=600") == "unix:/run/site.sock:mode=600:backlog=4096"
    assert _completed("ssl:port=1:privateKey=key.pem") == "ssl:port=1:privateKey=key.pem:backlog=4096"
    assert _completed("fd:fileno=3") == "fd:fileno=3"  # whoever opened it chose


def test_command_line__every_flag_of_daphne_is_there() -> None:
    from daphne.cli import CommandLineInterface

    def flags(line: Any) -> set[str]:
        return {flag for action in line.parser._actions for flag in action.option_strings}

    assert flags(ServeCommandLine()) == flags(CommandLineInterface())


@pytest.mark.parametrize(
    ("clients", "spacing"), [(0, 0.02), (1, 0.02), (250, 0.02), (500, 0.01), (5000, 0.001)], ids=str
)
def test_spacing__many_goodbyes_take_the_whole_time_and_few_less(clients: int, spacing: float) -> None:
    assert _spacing(clients, seconds=5) == pytest.approx(spacing)


async def test_drain__request_under_way_may_end_within_the_time(settings: Any) -> None:
    settings.PROGRESS_DRAIN_SECONDS = 0.2
    server = ProgressServer(None, endpoints=["tcp:0"])
    page = asyncio.ensure_future(asyncio.sleep(0.05, "page"))
    endless = asyncio.ensure_future(asyncio.sleep(3600))
    over = asyncio.ensure_future(asyncio.sleep(0))
    running = {"page": page, "endless": endless, "over": over}
    server.connections = {name: {"application_instance": task} for name, task in running.items()} | {"idle": {}}
    await server.kill_all_applications().asFuture(asyncio.get_running_loop())
    assert await page == "page"
    assert endless.cancelled()


async def test_connection__is_forgotten_when_it_and_its_application_are_over() -> None:
    """Daphne would keep thousands for up to a second, and every collection would look through them."""
    server = ProgressServer(None, endpoints=["tcp:0"])
    ended, failed = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()
    applications = {"well": ended, "ill": failed}
    server.connections = {"refused": {}} | {name: {"application_instance": each} for name, each in applications.items()}
    for name, application in applications.items():
        application.add_done_callback(partial(server._forget, name))
    for name in ("refused", "well", "ill", "well", "refused"):  # which Daphne may say twice
        server.protocol_disconnected(name)
    assert list(server.connections) == ["well", "ill"]
    ended.set_result(None)
    failed.set_exception(ZeroDivisionError("which is reported"))
    await asyncio.sleep(0)
    assert list(server.connections) == ["ill"]


async def test_page__is_forgotten_when_it_was_sent() -> None:
    """As a socket is: what a page's request holds is in a circle as well."""
    server = ProgressServer(lambda **_: asyncio.sleep(0), endpoints=["tcp:0"])
    server.connections = {"page": {}}
    server.create_application("page", {"type": "http"})
    server.protocol_disconnected("page")  # it was sent, and the application is about to return
    assert list(server.connections) == ["page"]
    await server.connections["page"]["application_instance"]
    await asyncio.sleep(0)
    assert not server.connections


async def test_connection__stays_while_its_client_does() -> None:
    server = ProgressServer(None, endpoints=["tcp:0"])
    ended = asyncio.get_running_loop().create_future()
    server.connections = {"open": {"application_instance": ended}}
    ended.set_result(None)
    server._forget("open", ended)
    assert list(server.connections) == ["open"]


def test_accept__is_of_one_in_a_turn() -> None:
    port = SimpleNamespace(numberAccepts=100)
    accepted: list[int] = []
    for _ in range(2):
        _accept_one(port, lambda: accepted.append(port.numberAccepts))
        port.numberAccepts += 20  # as Twisted does, where all were there
    assert accepted == [1, 1]
