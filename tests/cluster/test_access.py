"""Access on open sockets of two servers: whatever withdraws it, and whichever server hears of that."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from progress.protocol.codes import CloseCode
from tests.conftest import MakeSite
from tests.installation import Served, Site

SECONDS = 5.0  # within which access ends; this bound is the promise itself

SIGN_IN = """
import sys
from importlib import import_module
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from jobs.lifecycle import ProcessingJobLifecycle
for name in sys.argv[1:]:
    user = get_user_model().objects.create_user(name)
    ProcessingJobLifecycle.create(f"job-{name}", owner=user)
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    print(session.session_key)
"""

WITHDRAW = """
import sys
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from jobs.models import ProcessingJob
users = get_user_model().objects
Session.objects.filter(pk=sys.argv[1]).delete()
users.filter(username="password").update(password="another")
users.filter(username="active").update(is_active=False)
ProcessingJob.objects.filter(pk="job-owner").update(owner=None)
"""
LOSE = ("session", "password", "active", "owner")  # each by what is taken from them
STAYS = "nothing"


SAVE = """
from django.contrib.auth import get_user_model
user = get_user_model().objects.get(username="active")
user.is_active = False
user.save()
"""


async def is_open(socket: ClientConnection) -> bool:
    """Whether a socket still answers, and was told of no error before."""
    await socket.send('{"type": "ping"}')
    while True:
        text = str(await socket.recv())
        if '"pong"' in text:
            return True
        assert '"error"' not in text, text


async def watching(stack: AsyncExitStack, served: Served, name: str, key: str) -> ClientConnection:
    """Return a socket of a user, which has been sent the job that is theirs."""
    opened = connect(
        f"{served.ws_url}/progress/ws/job-{name}",
        origin=served.url,  # type: ignore[arg-type]
        additional_headers={"Cookie": f"sessionid={key}"},
    )
    socket = await stack.enter_async_context(opened)
    assert '"snapshot"' in str(await socket.recv())
    return socket


@pytest.mark.slow
async def test_access__withdrawn_ends_on_every_server_and_disturbs_nobody(site: Site) -> None:
    keys = dict(zip((*LOSE, STAYS), site.worker(SIGN_IN, *LOSE, STAYS).split(), strict=True))
    sockets: dict[str, list[ClientConnection]] = {name: [] for name in keys}
    async with AsyncExitStack() as stack:
        for served in (site.serve(), site.serve()):
            for name, key in keys.items():
                sockets[name].append(await watching(stack, served, name, key))
        await asyncio.to_thread(site.worker, WITHDRAW, keys["session"])
        async with asyncio.timeout(SECONDS):
            for name in LOSE:
                for socket in sockets[name]:
                    if name == "owner":
                        assert '"job_not_found"' in str(await socket.recv())
                        continue
                    with pytest.raises(ConnectionClosed):
                        await socket.recv()
                    assert socket.close_code == CloseCode.TOKEN_EXPIRED
        for socket in sockets[STAYS]:
            assert await is_open(socket)


async def test_word_of_a_change__reaches_every_server_long_before_its_next_period(make_site: MakeSite) -> None:
    """From a worker, which has no event loop and ends at once."""
    site = make_site("sqlite+redis", PROGRESS_ACCESS_SECONDS="60")
    keys = dict(zip(("active", STAYS), site.worker(SIGN_IN, "active", STAYS).split(), strict=True))
    async with AsyncExitStack() as stack:
        servers = site.serve(), site.serve()
        lose = [await watching(stack, served, "active", keys["active"]) for served in servers]
        stay = [await watching(stack, served, STAYS, keys[STAYS]) for served in servers]
        await asyncio.to_thread(site.worker, SAVE)
        async with asyncio.timeout(SECONDS):
            for socket in lose:
                with pytest.raises(ConnectionClosed):
                    await socket.recv()
                assert socket.close_code == CloseCode.TOKEN_EXPIRED
        for socket in stay:
            assert await is_open(socket)
