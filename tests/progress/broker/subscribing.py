"""What the tests of the subscriber share: a layer such as Redis's, and when a subscriber is whole."""

import asyncio

from tests.progress.watching import ScriptedLayer, eventually


class PubSub(ScriptedLayer):
    """As channels-redis's: who receives first makes the channel, whose receiver is cancelled forgets it, and one
    that is cut off while it leaves a group does not try that again. ``subscribed`` is what its server knows."""

    def __init__(self) -> None:
        super().__init__()
        self.members: set[tuple[str, str]] = set()
        self.subscribed: set[str] = set()
        self.is_opening: asyncio.Event | None = None
        self.hears_late = False  # does what it is asked, and does not say so

    async def new_channel(self) -> str:
        if self.is_opening is not None:
            await self.is_opening.wait()
        channel = await super().new_channel()
        self.subscribed.add(channel)
        return channel

    async def receive(self, channel: str) -> object:
        try:
            return await super().receive(channel)
        except asyncio.CancelledError:
            await asyncio.sleep(0)
            self.subscribed.discard(channel)
            raise

    async def group_add(self, group: str, channel: str) -> None:
        assert channel in self.subscribed, "it only takes channels that are there"
        self.members.add((group, channel))
        if self.hears_late:
            self.subscribed.add(group)
        await super().group_add(group, channel)
        self.subscribed.add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        if (group, channel) in self.members:
            self.members.discard((group, channel))
            if not any(group == other for other, _ in self.members):
                await super().group_discard(group, channel)
                self.subscribed.discard(group)


async def whole(linked):
    await eventually(lambda: linked.is_healthy)
