"""The count of places in a real Redis: exact over servers, and healed whatever is lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from channels.layers import channel_layers
from redis.asyncio import Redis

from progress.broker import layers, redis_places
from progress.broker import places as places_module
from progress.broker.places import Places
from progress.broker.redis_places import RedisPlaces

LIMIT = 200


@pytest.fixture
async def redis(redis_server, monkeypatch) -> AsyncIterator[Redis]:
    monkeypatch.setattr(places_module, "BEAT_SECONDS", 0.1)
    monkeypatch.setattr(places_module, "GATHER_SECONDS", 0.001)
    redis_server.start()
    async with Redis.from_url(redis_server.url) as redis:
        await redis.flushdb()
        yield redis


class Server:
    """One server's places."""

    def __init__(self, url: str) -> None:
        self.shared = RedisPlaces({"address": url}, "test")
        self.places = Places(self.shared)
        self._running = asyncio.ensure_future(self.places.run())

    async def take(self, times: int, key: str = "a", limit: int = LIMIT) -> int:
        return sum(await asyncio.gather(*(self.places.take(key, limit) for _ in range(times))))

    async def stop(self) -> None:
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)

    async def die(self) -> None:
        """End as a process that is killed: nothing is given back."""
        redis = self.shared._redis
        self.shared._redis = None
        await self.stop()
        assert redis is not None
        await redis.aclose(close_connection_pool=True)


@pytest.fixture
async def servers(redis, redis_server) -> AsyncIterator[list[Server]]:
    made = [Server(redis_server.url) for _ in range(4)]
    yield made
    for server in made:
        await server.stop()


async def eventually(condition):
    async with asyncio.timeout(10):
        while not await condition():  # noqa: ASYNC110  (Redis tells nobody)
            await asyncio.sleep(0.01)


async def test_take__is_exact_over_four_servers(servers):
    assert sum(await asyncio.gather(*(server.take(150) for server in servers))) == LIMIT
    assert await servers[0].take(1) == 0
    assert await servers[0].take(1, "b") == 1


async def test_give_back__is_soon_free_everywhere(servers):
    first, second, *_ = servers
    assert await first.take(LIMIT) == LIMIT
    assert await second.take(1) == 0
    for _ in range(3):
        first.places.give_back("a")
    await eventually(lambda: second.take(1))
    assert await second.take(9) == 2


async def test_stop__leaves_nothing_in_redis(servers, redis):
    await servers[0].take(5)
    for server in servers:
        await server.stop()
    assert await redis.keys("*") == []


async def test_flushed__is_whole_again(servers, redis):
    first, second, *_ = servers
    await first.take(150)
    await redis.flushdb()

    async def is_whole() -> bool:
        return bool(await redis.hget(first.shared._own, "a") == b"150")

    await eventually(is_whole)
    assert await second.take(150) == 50


async def test_killed__is_free_after_the_lease(servers, monkeypatch):
    monkeypatch.setattr(redis_places, "LEASE_SECONDS", 0.5)
    first, second, *_ = servers
    assert await first.take(LIMIT) == LIMIT
    await first.die()
    assert await second.take(1) == 0
    await eventually(lambda: second.take(1))
    assert await second.take(LIMIT) == LIMIT - 1


async def test_frozen__comes_back_with_what_it_has(servers, redis):
    first, second, *_ = servers
    await first.take(150)
    await redis.delete(first.shared._own)  # as others do once its lease is over
    await redis.zrem(first.shared._all, first.shared._name)

    async def is_back() -> bool:
        return bool(await redis.hget(first.shared._own, "a") == b"150")

    await eventually(is_back)
    assert await second.take(150) == 50


async def test_late__a_message_of_a_lost_connection_changes_nothing(servers, redis):
    first = servers[0]
    await first.take(5)
    known = first.shared._number
    await first.take(5)
    arguments = [f"{first.shared._all}:", first.shared._name, 6000, known, known + 1, 60_000, "a", 5, 0, 0]
    assert await redis.eval(redis_places.SCRIPT, 2, first.shared._all, first.shared._own, *arguments) is None
    assert await redis.hget(first.shared._own, "a") == b"10"


async def test_restarted__goes_on_with_own_counts_and_then_together(servers, redis_server, caplog):
    first, second, *_ = servers
    await first.take(150)
    await asyncio.to_thread(redis_server.kill)
    assert await second.take(150) == 150
    await asyncio.to_thread(redis_server.start)

    async def is_shared() -> bool:
        return await servers[2].take(1) == 0

    await eventually(is_shared)
    assert caplog.text.count("until Redis answers") <= len(servers)


@asynccontextmanager
async def layer_of(settings, backend: str, **config: object) -> AsyncIterator[object]:
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": backend, "CONFIG": config}}
    channel_layers.backends.clear()
    yield layers.shared_count(layers.configured())
    channel_layers.backends.clear()


@pytest.mark.parametrize(
    "backend",
    [
        "progress.broker.redis_layer.PipelinedChannelLayer",
        "channels_redis.pubsub.RedisPubSubChannelLayer",
        "channels_redis.core.RedisChannelLayer",
    ],
)
@pytest.mark.parametrize("form", ["url", "pair", "dict", "sharded"])
async def test_configuration__of_every_form_counts(settings, redis, redis_server, backend, form):
    forms = {
        "url": [redis_server.url],
        "pair": [(redis_server.host, redis_server.port)],
        "dict": [{"address": redis_server.url, "socket_connect_timeout": 2, "health_check_interval": 10}],
        "sharded": [redis_server.url, redis_server.url],
    }
    async with layer_of(settings, backend, hosts=forms[form]) as shared:
        assert shared is not None
        places = Places(shared)
        running = asyncio.ensure_future(places.run())
        assert await places.take("a", 1)
        assert await redis.keys("{asgi.progress.places}*")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_configuration__sentinels_that_are_not_there_leave_own_counts(settings, caplog, monkeypatch):
    monkeypatch.setattr(places_module, "ANSWER_SECONDS", 0.1)
    hosts = [{"sentinels": [("127.0.0.1", 1)], "master_name": "main"}]
    async with layer_of(settings, "channels_redis.pubsub.RedisPubSubChannelLayer", hosts=hosts) as shared:
        places = Places(shared)
        running = asyncio.ensure_future(places.run())
        assert [await places.take("a", 1) for _ in range(2)] == [True, False]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert caplog.text.count("until Redis answers") == 1


def test_configuration__of_another_layer_counts_in_the_process():
    assert layers.shared_count(None) is None
    assert layers.shared_count(object()) is None
