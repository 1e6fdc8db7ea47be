"""Where the world takes the place of the thread pool, the database, the layer, the policy and the clocks.

Modules are named, so that one that moves is missed.
"""

import importlib
from collections.abc import Iterator, MutableSet
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

from django.test import override_settings

from jobs.states import EXTRAS
from tests.simulation.sockets import FrameWriter
from tests.simulation.world import World

READ_PATH = {
    "broker": ("subscriber",),
    "delivery": (
        *("hub", "hubs", "tasks", "feed", "feed_reads", "feed_watcher", "connection", "outbox", "reads"),
        *("chunks", "pages", "replay", "window", "watched_job", "log_reader", "access_guard", "questions", "admission"),
        *("recovery", "backscroll"),
    ),
    "transports": ("asgi", "consumers", "session", "message_queue"),
}
SELECTORS = (
    *("get_job", "get_jobs", "positions", "heads", "events_after", "events_between", "last_begin"),
    "first_events",
    *("recent_jobs", "jobs_changed_since", "now"),
)
# Bounds within the code, made small in some runs so that they are met: by what they may be.
BOUNDS: dict[tuple[str, str], tuple[Any, ...]] = {
    ("pages", "PAGE_EVENTS"): (2, 5),
    ("log_reader", "ROUND_EVENTS"): (2, 7),
    ("chunks", "CHUNK_BYTES"): (300, 1_000),
    ("window", "WINDOW_BYTES"): (1_000, 10_000),
    ("backscroll", "MOST_EVENTS"): tuple(dict.fromkeys(EXTRAS, most) for most in (2, 10, 1_000)),
    ("backscroll", "MOST_BYTES"): tuple(dict.fromkeys(EXTRAS, most) for most in (10, 100, 1_048_576)),
}
PAGES: dict[tuple[str, str], tuple[Any, ...]] = {
    ("backscroll", "PAGE_EVENTS"): (1, 2, 5),
    ("backscroll", "PAGE_BYTES"): (1, 300, 262_144),
    ("log_reader", "TURNS"): (1, 2),
}
SETTINGS: dict[str, tuple[float, ...]] = {
    "RING_EVENTS": (1, 3, 256),
    "REPLAY_EVENTS": (4, 30, 5_000),
    "OUTBOX_BYTES": (600, 1_500, 3_000, 262_144),
    "SEND_SECONDS": (0.4, 2.0),
    "HEARTBEAT_SECONDS": (1.0, 25.0),
    "POLL_SECONDS": (0.02, 0.05),
}


class OrderedSet(MutableSet[Any]):
    """A set that is gone through in the order of arrival: with the built-in one, that depends on hashes."""

    def __init__(self, items: Any = ()) -> None:
        self._items = dict.fromkeys(items)

    def __contains__(self, item: object) -> bool:
        return item in self._items

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Any) -> None:
        self._items[item] = None

    def discard(self, item: Any) -> None:
        self._items.pop(item, None)

    def update(self, items: Any) -> None:
        self._items |= dict.fromkeys(items)


def modules() -> dict[str, ModuleType]:
    """Return the modules of the read path."""
    return {
        name: importlib.import_module(f"progress.{room}.{name}") for room, names in READ_PATH.items() for name in names
    }


@contextmanager
def around(world: World) -> Iterator[None]:
    """Put a world around the read path."""
    chance, of_pages = world.chance("settings"), world.chance("pages")
    bounds = {key: chance.choice(sizes) for key, sizes in BOUNDS.items()}
    bounds |= {key: of_pages.choice(sizes) for key, sizes in PAGES.items()}
    settings = {f"PROGRESS_{name}": chance.choice(sizes) for name, sizes in SETTINGS.items()}
    patched = [*_patches(world)]
    if chance.random() < 0.5:
        found = modules()
        patched += [(found[module], name, size) for (module, name), size in bounds.items() if module in found]
    before = [(place, name, vars(place).get(name, place)) for place, name, _ in patched]
    with override_settings(**settings):
        try:
            for place, name, value in patched:
                setattr(place, name, value)
            yield
        finally:
            for place, name, value in reversed(before):
                delattr(place, name) if value is place else setattr(place, name, value)


def _patches(world: World) -> Iterator[tuple[Any, str, Any]]:
    """Yield what to put where."""
    from channels.generic import websocket as channels_websocket

    from jobs import access, epochs, selectors
    from progress.broker import layers
    from progress.delivery import hearing
    from progress.delivery.sqlite_changes import DataVersion
    from progress.identity.identity import Identity
    from progress.transports import consumers, session

    anywhere = {
        "in_thread": world.read,
        "policy": world.policy,
        "renew_epoch": world.database.renew_epoch,
        "timezone": SimpleNamespace(now=world.now),
        "time": SimpleNamespace(monotonic=world.loop.time),
    }
    for module in modules().values():
        yield module, "set", OrderedSet
        for name, value in anywhere.items():
            if name in vars(module):
                yield module, name, value
    for name in SELECTORS:
        if hasattr(selectors, name):
            yield selectors, name, getattr(world.database, name)
    yield epochs, "renew_epoch", world.database.renew_epoch
    yield access, "policy", world.policy
    yield layers, "configured", lambda: world.layer
    yield DataVersion, "of_database", staticmethod(world.counter)
    yield hearing, "hear", world.hear
    yield (
        channels_websocket,
        "aclose_old_connections",
        world.close_old_connections,
    )  # in a thread, when a socket is gone
    yield session, "has_credentials", lambda request: request.scope["user"].is_authenticated
    yield session, "identify", lambda request: Identity(request.scope["user"])
    yield consumers, "Connection", _numbered(consumers.Connection)
    yield session.Session, "_subscribe", _noted(session.Session._subscribe)


def _noted(subscribe: Any) -> Any:
    """Return what subscribes, and lets the client know that it begins: messages wait in the consumer for their turn."""

    async def noted(self: Any, command: Any, **options: Any) -> None:
        sender = self.connection._sender
        socket = sender.socket if isinstance(sender, FrameWriter) else sender._send.__self__  # it is a method of it
        if socket is socket.client.socket:
            socket.client.begun(command.job_id)
        await subscribe(self, command, **options)

    return noted


def _numbered(connection: type) -> type:
    """Return a connection whose hash is its number, so that sets of them have the same order in each run."""
    made: list[int] = []

    class Numbered(connection):  # type: ignore[misc,valid-type]
        __slots__ = ("number",)

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            made.append(len(made))
            self.number = made[-1]
            super().__init__(*args, **kwargs)

        def __hash__(self) -> int:
            return self.number

    return Numbered


def leftovers(world: World) -> list[str]:
    """Return what is left in the hub, the layer and the limits after everybody has left."""
    from progress.delivery import hubs

    left = [] if world.layer is None or not world.has("last leave") else world.layer.leftovers()
    left += ["a counter is open"] * world.counters
    made = hubs._hubs.pop(world.loop, None)
    for owner, thing in _parts(made).items():
        for name, value in vars(thing).items():
            if isinstance(value, dict | list | set | OrderedSet) and value and name != "_sent":
                left.append(f"{owner}.{name} has {len(value)}")
    return left


def _parts(made: Any) -> dict[str, Any]:
    """Return a hub and its parts."""
    names = "feed", "places", "reader", "subscriber"
    parts = {name: getattr(made, name) for name in names if getattr(made, name, None) is not None}
    return parts if made is None else {"hub": made, **parts}
