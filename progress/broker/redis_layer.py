"""channels-redis's pub/sub layer, which can also send to many groups in one round trip.

It uses private parts of channels-redis, so that is pinned in requirements.txt. Any other channel layer works as well:
`progress.broker.publisher` then sends to one group after another.
"""

from collections.abc import Iterable
from typing import Any

from channels_redis.pubsub import RedisPubSubChannelLayer


class PipelinedChannelLayer(RedisPubSubChannelLayer):
    """The pub/sub layer with `group_send_many`."""

    async def group_send_many(self, messages: Iterable[tuple[str, dict[str, Any]]]) -> None:
        """Send messages, each to its group, in order; in one pipeline for each Redis.

        Raises:
            redis.RedisError: As ``group_send``; some may have been sent.

        """
        layer = self._get_layer()
        by_shard: dict[Any, list[tuple[str, bytes]]] = {}
        for group, message in messages:
            channel = layer._get_group_channel_name(group)
            by_shard.setdefault(layer._get_shard(channel), []).append((channel, self.serialize(message)))
        for shard, sends in by_shard.items():
            async with shard._lock:
                shard._ensure_redis()
                pipeline = shard._redis.pipeline(transaction=False)
                for channel, data in sends:
                    pipeline.publish(channel, data)
                await pipeline.execute()
