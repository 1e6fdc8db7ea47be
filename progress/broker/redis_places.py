"""The count of places that servers share, in the Redis of the channel layer.

Each server has a hash of its own, with the places that it has given by key, and a score in a sorted set: when it last
gave a sign of life, by the clock of Redis. The hash of a server that gives none is deleted, and its places are free. A
server tells counts and not changes, under a number that it counts up: so nothing is counted twice, whatever is
repeated, comes late or gets lost.
"""

import secrets
from collections.abc import Mapping
from typing import Any

from channels_redis.utils import create_pool
from redis.asyncio import Redis

from .places import Entry

LEASE_SECONDS = 6.0  # without a sign of life, after which a server's places are free
KEPT_LEASES = 10  # after which Redis drops what the last server has left

# KEYS: the sorted set, the own hash. ARGV: what the names of all hashes begin with, the own name, the lease
# (milliseconds), the number told last ("" to begin anew), the next; then key, taken, wanted, limit of each entry.
SCRIPT = """
local beats, own = KEYS[1], KEYS[2]
local prefix, name, lease, known, number = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for _, dead in ipairs(redis.call('ZRANGEBYSCORE', beats, '-inf', now - lease)) do
  redis.call('DEL', prefix .. dead)
  redis.call('ZREM', beats, dead)
end
if known == '' then
  redis.call('DEL', own)
elseif redis.call('HGET', own, 'number') ~= known then
  return false
end
redis.call('HSET', own, 'number', number)
local others = redis.call('ZRANGE', beats, 0, -1)
redis.call('ZADD', beats, now, name)
redis.call('PEXPIRE', own, ARGV[6])
redis.call('PEXPIRE', beats, ARGV[6])
local granted = {}
for i = 7, #ARGV, 4 do
  local key, taken, wanted = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local given = 0
  if wanted > 0 then
    local free = ARGV[i + 3] - taken
    for _, other in ipairs(others) do
      if other ~= name then
        free = free - (tonumber(redis.call('HGET', prefix .. other, key)) or 0)
      end
    end
    given = math.max(0, math.min(wanted, free))
  end
  if taken + given > 0 then
    redis.call('HSET', own, key, taken + given)
  else
    redis.call('HDEL', own, key)
  end
  granted[#granted + 1] = given
end
return granted
"""


class RedisPlaces:
    """One server's end of the count.

    Args:
        host: How to reach Redis: an entry of ``hosts`` of a channel layer of channels-redis.
        prefix: What its keys begin with.

    """

    def __init__(self, host: dict[str, Any], prefix: str) -> None:
        self._host = host
        self._all = f"{{{prefix}.progress.places}}"  # in braces: a Redis Cluster keeps them all on one node
        self._name = secrets.token_hex(8)
        self._own = f"{self._all}:{self._name}"
        self._number = 0
        self._redis: Redis | None = None

    async def exchange(self, entries: Mapping[str, Entry], *, anew: bool) -> list[int] | None:
        """Tell what this server has given, and ask for more.

        Raises:
            redis.RedisError: It does not answer, or does not know scripts.

        """
        if self._redis is None:
            self._redis = Redis(connection_pool=create_pool(self._host))
            self._script = self._redis.register_script(SCRIPT)
        known, self._number = "" if anew else self._number, self._number + 1
        lease = round(LEASE_SECONDS * 1000)
        arguments: list[Any] = [f"{self._all}:", self._name, lease, known, self._number, KEPT_LEASES * lease]
        for key, entry in entries.items():
            arguments += (key, *entry)
        granted: list[int] | None = await self._script(keys=[self._all, self._own], args=arguments)
        return granted

    async def leave(self) -> None:
        """Give all places back, and close the connection."""
        if self._redis is None:
            return
        redis, self._redis = self._redis, None
        try:
            async with redis.pipeline() as pipeline:
                pipeline.delete(self._own)
                pipeline.zrem(self._all, self._name)
                await pipeline.execute()
        finally:
            await redis.aclose(close_connection_pool=True)
