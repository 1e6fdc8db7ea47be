"""A channel layer with the faults of channel layers: it delays, loses, repeats, raises, hangs, is deaf, crashes."""

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.simulation.world import World

LATE_SECONDS = 1.0  # how late a message may come


class Layer:
    """Groups and channels, as the hub's subscriber sees them; what is sent to a group, the world sends."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._chance = world.chance("layer")
        self._made = 0
        self._again = asyncio.Event()  # it does not hang
        self._again.set()
        self.raises = self.is_deaf = False
        self.groups: dict[str, dict[str, None]] = {}
        self.channels: dict[str, asyncio.Queue[Any]] = {}
        self._heard: dict[str, None] = {}  # the channels on which somebody receives
        self._excused: set[str] = set()

    # What the subscriber calls

    async def new_channel(self) -> str:
        await self._answer()
        self._made += 1
        channel = f"channel-{self._made}"
        self.channels[channel] = asyncio.Queue()
        return channel

    async def receive(self, channel: str) -> Any:
        inbox = self.channels.setdefault(channel, asyncio.Queue())
        self._heard[channel] = None
        try:
            message = await inbox.get()
        except asyncio.CancelledError:
            self.channels.pop(channel, None)  # as channels-redis does: whoever received is leaving
            raise
        finally:
            del self._heard[channel]
        if isinstance(message, Exception):
            raise message
        return message

    async def group_add(self, group: str, channel: str) -> None:
        await self._answer()
        self.groups.setdefault(group, {})[channel] = None

    async def group_discard(self, group: str, channel: str) -> None:
        await self._answer()
        members = self.groups.get(group, {})
        members.pop(channel, None)
        if not members:
            self.groups.pop(group, None)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        await self._answer()
        self._bring(channel, message)

    async def _answer(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.0001, 0.003))
        await self._again.wait()
        if self.raises:
            raise ConnectionError("the layer is down")

    # What the world does

    def group_send(self, group: str, message: dict[str, Any]) -> None:
        if not self.raises and self._again.is_set():
            for channel in list(self.groups.get(group, ())):
                self._bring(channel, message)

    def _bring(self, channel: str, message: dict[str, Any]) -> None:
        has, chance = self._world.has, self._chance
        if self.is_deaf or (has("lost") and chance.random() < 0.1 and not self._world.is_calm):
            return
        for _ in range(2 if has("repeated") and chance.random() < 0.1 else 1):
            late = has("late") and chance.random() < 0.2 and not self._world.is_calm
            delay = chance.uniform(0.05, LATE_SECONDS) if late else chance.uniform(0.0002, 0.003)
            self._world.loop.call_later(delay, self._arrive, channel, message)

    def _arrive(self, channel: str, message: dict[str, Any]) -> None:
        if channel in self.channels:
            self.channels[channel].put_nowait(message)

    def crash(self) -> None:
        """Forget everything; whoever receives hears of it."""
        for inbox in self.channels.values():
            inbox.put_nowait(ConnectionError("the layer has crashed"))
        self.channels, self.groups = {}, {}

    def hang(self, hangs: bool) -> None:
        (self._again.clear if hangs else self._again.set)()

    def excuse(self) -> None:
        """Count no more what could not be given back until now, since the layer was in trouble."""
        self._excused = set(self.channels) - set(self._heard)
        self._excused |= {channel for members in self.groups.values() for channel in members} - set(self._heard)

    def leftovers(self) -> list[str]:
        kept = [f"channel {channel}" for channel in self.channels if channel not in self._excused]
        members = [(group, channel) for group, members in self.groups.items() for channel in members]
        return kept + [f"{channel} in group {group}" for group, channel in members if channel not in self._excused]
