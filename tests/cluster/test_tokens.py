"""Tokens on two servers: revoked by whatever means, one ends on both; no other notices."""

import asyncio
from contextlib import AsyncExitStack

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from progress.protocol.codes import CloseCode
from tests.cluster.test_access import SECONDS, is_open
from tests.conftest import MakeSite
from tests.installation import Site

ISSUE = """
from jobs.lifecycle import ProcessingJobLifecycle
from progress.identity.tokens import issue_token
ProcessingJobLifecycle.create("private")
for name in ("revoked", "by-sql", "kept"):
    print(issue_token(jobs=["private"], note=name))
"""
WITHDRAW = """
from django.db import connection
from progress.identity.revocation import revoke_token
from progress.models import AccessToken
revoke_token(AccessToken.objects.get(note="revoked").jti)
with connection.cursor() as cursor:
    cursor.execute("UPDATE progress_accesstoken SET revoked_at = CURRENT_TIMESTAMP WHERE note = 'by-sql'")
"""


async def is_closed(socket: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        await socket.recv()
    assert socket.close_code == CloseCode.NOT_AUTHENTICATED


async def shows_snapshot(site_url: str, token: str) -> ClientConnection:
    socket = await connect(f"{site_url}/progress/ws/private", additional_headers={"Authorization": f"Bearer {token}"})
    assert '"snapshot"' in str(await socket.recv())
    return socket


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["sqlite", pytest.param("postgres+redis", marks=pytest.mark.slow)])
async def test_revocation__ends_on_every_server_and_disturbs_nobody(make_site: MakeSite, backend: str) -> None:
    site: Site = make_site(backend)
    revoked, by_sql, kept = site.worker(ISSUE).split()
    servers = site.serve(), site.serve()
    async with AsyncExitStack() as stack:
        ends = [await shows_snapshot(served.ws_url, token) for served in servers for token in (revoked, by_sql)]
        stays = [await shows_snapshot(served.ws_url, kept) for served in servers]
        for socket in (*ends, *stays):
            stack.push_async_callback(socket.close)
        await asyncio.to_thread(site.worker, WITHDRAW)
        async with asyncio.timeout(SECONDS):
            await asyncio.gather(*map(is_closed, ends))
        for socket in stays:
            assert await is_open(socket)
    for served in servers:
        again = await connect(f"{served.ws_url}/progress/ws", additional_headers={"Authorization": f"Bearer {revoked}"})
        assert '"not_authenticated"' in str(await again.recv())
        await is_closed(again)
        assert revoked.split(".")[2] not in served.log_text()
