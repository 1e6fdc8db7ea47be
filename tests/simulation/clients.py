"""Who watches: they come, subscribe, subscribe again, stop to read, leave, and come back with what they have."""

import asyncio
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from django.contrib.auth.models import AnonymousUser

from jobs.states import EventKind
from tests.simulation.feed_views import FeedView
from tests.simulation.sockets import GONE, Socket, WritingSocket
from tests.simulation.views import IMPOSSIBLE, Request, View, summary

if TYPE_CHECKING:
    from tests.simulation.world import World

EXTRAS_IN_ORDER = EventKind.LOG, EventKind.OUTPUT
NOTHING: frozenset[EventKind] = frozenset()
KEEP_SECONDS = 0.25  # between two looks of a client that wants to be served, once all is calm

ACTIONS = (
    "watch",
    "watch",
    "again",
    "again",
    "again",
    "unwatch",
    "feed",
    "unfeed",
    "impossible",
    "pause",
    "ping",
    "break",
    "stop",
)


class User:
    """Somebody who has signed in."""

    is_authenticated = is_active = True

    def __init__(self, pk: int, *, is_staff: bool = False) -> None:
        self.pk, self.is_staff = pk, is_staff

    def __hash__(self) -> int:
        return self.pk  # and not its address, so that sets have the same order in each run


class Client:
    """One who watches, by one socket at a time, and remembers positions between them."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.name = f"client {number}"
        self.chance = chance = world.chance(self.name)
        self.user: Any = chance.choice([AnonymousUser(), User(1), User(1), User(2), User(3, is_staff=True)])
        self.socket: Socket | None = None
        self.wants: dict[str, frozenset[EventKind]] = {}  # jobs, and with what beside the state
        self.wants_feeds: dict[str, None] = {}
        self.positions: dict[str, tuple[str, int]] = {}
        self._forget_socket()

    def _forget_socket(self) -> None:
        self.views: dict[str, View] = {}
        self.feeds: dict[str, FeedView] = {}
        self.asked_feeds: Counter[str] = Counter()  # and not answered yet
        self.asked_at: dict[str, float] = {}
        self.live_feeds: set[str] = set()  # asked for again: a change may come before the answer

    @property
    def is_behind(self) -> bool:
        """Whether its socket ever took less than it was sent."""
        return self.socket is not None and self.socket.was_behind

    @property
    def is_asking(self) -> bool:
        """Whether an answer is under way to it, with whatever it missed."""
        return any(self.asked_feeds.values()) or any(view.requests for view in self.views.values())

    def claim(self, holds: bool, what: str) -> None:
        if not holds:
            self.world.violated(f"{self.name}: {what}")

    def tell(self, what: str) -> None:
        self.world.tell(self.name, what)

    # What happens by chance

    async def live(self) -> None:
        """Come and go, as long as there is turmoil."""
        chance = self.chance
        await asyncio.sleep(chance.uniform(0, self.world.seconds))
        while True:
            self.connect()
            leaves_at = self.world.loop.time() + chance.expovariate(1 / 3)
            while self.socket is not None and self.world.loop.time() < leaves_at:
                self.act()
                await asyncio.sleep(chance.expovariate(2))
            self.leave()
            await asyncio.sleep(chance.expovariate(2))

    def act(self) -> None:
        """Do something, if the socket is ready for it."""
        has, chance, socket = self.world.has, self.chance, self.socket
        if socket is None or not socket.is_accepted:
            return
        action = chance.choice(ACTIONS)
        job_id = chance.choice(self.world.job_ids)
        is_new = has("again") or job_id not in self.wants
        if action == "watch" and is_new:
            wants = frozenset(kind for kind in EXTRAS_IN_ORDER if has("logs") and chance.random() < 0.6)
            self.subscribe(job_id, wants=wants, resumes=chance.random() < 0.7)
        elif action == "again" and has("again") and self.wants:
            self.subscribe(
                job_id := chance.choice(list(self.wants)), wants=self.wants[job_id], resumes=chance.random() < 0.8
            )
        elif action == "unwatch" and self.wants:
            self.unsubscribe(chance.choice(list(self.wants)))
        elif action == "feed" and has("feeds"):
            self.watch_feed(chance.choice(("all", "mine")))
        elif action == "unfeed" and self.wants_feeds:
            self.leave_feed(chance.choice(list(self.wants_feeds)))
        elif action == "impossible" and has("impossible") and is_new:
            for _ in range(chance.choice((1, 1, 20)) if has("again") else 1):
                self.subscribe(job_id, wants=NOTHING, since=(self.positions.get(job_id, ("none", 0))[0], IMPOSSIBLE))
        elif action == "pause" and has("pauses") and socket.is_reading:
            self.tell("stops to read")
            pause, times = chance.choice(((0.01, 1), (0.1, 1), (0.5, 1), (3.0, 1), (0.15, 20)))
            self.pause(socket, pause, times)
        elif action == "ping":
            self.say({"type": "ping"})
        elif action == "break" and has("send raises") and chance.random() < 0.5:
            socket.failure, socket.fails_after = chance.choice(("once", "for good")), chance.randint(0, 4)
            if has("pauses") and socket.is_reading and chance.random() < 0.5:
                self.pause(socket, 0.5, 1)  # so that more waits behind the message that is refused
        elif action == "stop" and has("shutdown") and chance.random() < 0.3:
            self.tell("the server stops it")
            self.world.stop(socket)

    def pause(self, socket: Socket, seconds: float, times: int) -> None:
        """Stop to read for a while; more than once, with nothing but a moment between."""
        if times and socket.is_open and not self.world.is_calm:
            socket.pause()
            self.world.loop.call_later(seconds, self.go_on, socket)
            self.world.loop.call_later(seconds + 0.01, self.pause, socket, seconds, times - 1)

    def go_on(self, socket: Socket) -> None:
        if socket.is_open and not socket.is_reading:
            self.tell("reads on")
            socket.go_on()

    # What it does

    def connect(self) -> None:
        chance, has = self.chance, self.world.has
        self._forget_socket()
        habits = ["", "", *["waits", "slow"] * has("suspends"), *["times"] * has("send times")]
        habit = chance.choice([*habits, *["writer", "writer", "slow writer"] * has("writer")])
        self.socket = (WritingSocket if "writer" in habit else Socket)(self, habit)
        job_id = chance.choice([*self.wants, *self.world.job_ids]) if chance.random() < 0.6 else None
        query = ""
        if job_id is not None:
            since = self.positions.get(job_id) if has("resumes") and chance.random() < 0.8 else None
            query = f"epoch={since[0]}&seq={since[1]}" if since else ""
            self.wants[job_id] = NOTHING
            self._ask(Request(job_id, since, NOTHING))
        self.tell(f"connects ({habit or 'plain'}) for {job_id} {query}")
        self.world.serve(self.socket, job_id, query)

    def subscribe(self, job_id: str, *, wants: frozenset[EventKind], resumes: bool = True, since: Any = None) -> None:
        if resumes and since is None and self.world.has("resumes"):
            since = self.positions.get(job_id)
        self.wants[job_id] = wants
        request = Request(job_id, since, wants)
        asked = {"logs": EventKind.LOG in wants, "output": EventKind.OUTPUT in wants}
        message = {"type": "subscribe", "job_id": job_id, **asked}
        if since is not None:
            message["since"] = {"epoch": since[0], "seq": since[1]}
        self._ask(request)
        self.say(message, request)

    def _ask(self, request: Request) -> None:
        view = self.views.setdefault(request.job_id, View(self, request.job_id))
        if request.since is not None and not view.is_live and not view.requests:
            view.epoch, view.seq = request.since
        view.requests.append(request)

    def unsubscribe(self, job_id: str) -> None:
        del self.wants[job_id]
        self.say({"type": "unsubscribe", "job_id": job_id})

    def watch_feed(self, name: str) -> None:
        if name == "mine" and not self.user.is_authenticated:
            return
        self.wants_feeds[name] = None
        self.asked_feeds[name] += 1
        self.asked_at[name] = self.world.loop.time()
        if self.feeds.pop(name, None) is not None:
            self.live_feeds.add(name)
        self.say({"type": "subscribe", "feed": name})

    def leave_feed(self, name: str) -> None:
        del self.wants_feeds[name]
        self.say({"type": "unsubscribe", "feed": name})

    def say(self, message: dict[str, Any], request: Request | None = None) -> None:
        assert self.socket is not None
        self.tell(f"says {message}")
        self.socket.put({"type": "websocket.receive", "text": json.dumps(message)}, request)

    def leave(self) -> None:
        if self.socket is not None:
            self.tell("leaves")
            socket, self.socket = self.socket, None
            socket.cut()

    def lose(self, socket: Socket) -> None:
        """Lose a socket that has failed; the server's loop hears of it a moment later."""
        if socket.is_open:
            self.closed(socket, GONE)
            self.world.loop.call_later(0.02, socket.cut)

    async def keep(self) -> None:
        """Want to be served, now that all is calm: come back, and ask again for what was refused for a while."""
        while True:
            if self.socket is None:
                self.connect()
            if not self.wants:
                self.wants[self.chance.choice(self.world.job_ids)] = NOTHING
            if self.socket is not None and self.socket.is_accepted:
                self.go_on(self.socket)
            if self.socket is not None and self.socket.is_accepted:  # as it need not be any more
                for job_id, wants in list(self.wants.items()):
                    view = self.views.get(job_id)
                    if view is None or not (view.requests or (view.is_live and not view.is_unsure)):
                        self.subscribe(job_id, wants=wants)
                for name in self.wants_feeds:
                    if name not in self.feeds and not self.asked_feeds[name]:
                        self.watch_feed(name)
            await asyncio.sleep(KEEP_SECONDS)

    def missing_truth(self) -> str:
        """Return what is not as it should be, once all is quiet."""
        if self.socket is None:
            return f"{self.name} has no socket"
        missing = [self.views[each].missing_truth() if each in self.views else "no view" for each in self.wants]
        missing += [feed.missing_truth() for feed in self.feeds.values()]
        return next((f"{self.name}: {each}" for each in missing if each), "")

    # What it is told

    def begun(self, job_id: str) -> None:
        """Note that the server is at a subscription."""
        view = self.views.get(job_id)
        for request in view.requests if view is not None else ():
            if request.taken_at is None:
                request.taken_at = self.world.loop.time()
                row = self.world.database.rows.get(job_id)
                request.superseded = row.seq if row is not None and view.is_live else 0
                return

    def closed(self, socket: Socket, code: int) -> None:
        self.tell(f"is closed with {code}")
        if socket is self.socket:
            self.socket = None

    def take(self, socket: Socket, frame: dict[str, Any]) -> None:
        """Fold a frame."""
        if socket is not self.socket:
            return
        kind, subject = frame["type"], frame.get("job_id", frame.get("subject"))
        self.tell(f"gets {summary(frame)}")
        if kind in ("progress", "log", "output", "backscroll", "snapshot", "error") and subject in self.world.job_ids:
            view = self.views.get(subject)
            if kind == "error" and self._left_lists(subject, frame):
                if view is None or not view.may_be_refused:
                    return
                view.doubtful = True  # whether that was the answer to what was asked, or of a feed alone
            self.claim(view is not None, f"{kind} of {subject}, which nobody asked for")
            assert view is not None
            if kind == "error":
                self._refused(view, frame)
            else:
                {"snapshot": view.snapshot, "backscroll": view.backscroll}.get(kind, view.event)(frame)
                self.positions[subject] = view.position
        elif kind == "unsubscribed":
            self.feeds.pop(str(subject), None)
            self.live_feeds.discard(str(subject))
            if subject in self.views:
                self.views[subject].is_live, self.views[subject].back = False, None
        elif kind == "feed":
            if subject not in self.feeds:
                self.claim(self.asked_feeds[subject] > 0, f"feed {subject}, which nobody asked for")
                self.asked_feeds[subject] -= subject not in self.live_feeds
                self.feeds[subject] = FeedView(self, subject, self.asked_at[subject])
            self.feeds[subject].take(frame)
        elif kind == "error":
            self.asked_feeds[str(subject)] -= 1
            self.feeds.pop(str(subject), None)
            self.claim(frame["code"] in ("unavailable", "not_authenticated"), f"refused: {frame}")

    def _left_lists(self, job_id: str, frame: dict[str, Any]) -> bool:
        """Note that a job may no longer be seen, which is told of what only a feed has shown as well."""
        shown = [feed for feed in self.feeds.values() if job_id in feed.jobs and frame["code"] == "job_not_found"]
        for feed in shown:
            feed.forget(job_id)
        asked_again = self.live_feeds - self.feeds.keys()  # of which the earlier subscription may still tell
        return bool(shown) or (bool(asked_again) and frame["code"] == "job_not_found")

    def _refused(self, view: View, frame: dict[str, Any]) -> None:
        view.error(frame)
        if frame["code"] == "job_not_found":
            self.wants.pop(view.job_id, None)
            self.world.same_answer({**frame, "subject": ""})
