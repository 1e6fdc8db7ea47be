"""Streams of server-sent events behind each proxy, with the files of deploy/ as they are."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from tests.cluster.stream_follower import StreamFollower
from tests.cluster.test_streams import ALL, BOTH, JOBS, run
from tests.installation import Served
from tests.proxies import Proxy


@pytest.mark.slow
async def test_streams__bring_each_event_at_once_and_outlast_each_server(
    cluster: list[Served], all_proxies: list[Proxy]
) -> None:
    """The jobs wait until everybody has what came so far: nothing is held back. Both servers drain in turn."""
    site = cluster[0].site
    await asyncio.to_thread(site.worker, JOBS)
    async with AsyncExitStack() as stack:
        followers = [
            await stack.enter_async_context(StreamFollower(each.port, path, each.trusting))
            for each in all_proxies
            for path in ("/progress/events/job-1", BOTH)
        ]

        async def all_have(seq: int) -> None:
            for follower in followers:
                await follower.until(lambda follower=follower: follower.seqs("job-1")[-1:] == [seq])

        loop = asyncio.get_running_loop()

        def restart(served: Served, seq: int) -> None:
            asyncio.run_coroutine_threadsafe(all_have(seq), loop).result()
            served.stop()
            served.start()

        await run(site, lambda: restart(cluster[0], 27), lambda: restart(cluster[1], 52))
        await all_have(ALL[-1])
        for follower in followers:
            await follower.until(lambda follower=follower: follower.is_finished("job-1"))
            assert follower.seqs("job-1") == ALL
        for follower in followers[1::2]:
            await follower.until(lambda follower=follower: follower.is_finished("job-2"))
            assert follower.seqs("job-2") == ALL
        assert {status for follower in followers for status in follower.statuses} == {200}
