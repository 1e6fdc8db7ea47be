"""One watched job in one process: its window of the log, and the connections that watch it."""

import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from ..broker.messages import Publication
from ..conf import conf
from ..protocol.exceptions import Refused, job_not_found, unavailable
from ..protocol.frames import Frame, event_frame, job_about, job_state
from ..protocol.position import Position
from ..source.store import Head, Span
from ..source.vocabulary import EventKind
from .backscroll import Backscroll
from .chunks import Answers, visible
from .connection import Connection, fan_out
from .facts import Facts
from .reads import Shared
from .replay import Replay
from .subscription import Subscription
from .window import Verdict, Window, news_of

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)


class WatchedJob:
    """Takes each event of a job once, in order, and sends it to all who watch.

    It knows nothing of the job until the log reader has read its row.

    Args:
        job_id: The job.
        read: Reads a span of the job's log.
        admit_again: Called with the subscriptions that were stopped, since who may watch may have changed.
        on_idle: Called when nobody watches nor is subscribing.

    """

    def __init__(
        self,
        job_id: str,
        read: Callable[[str, Span], Awaitable[Sequence[Publication]]],
        admit_again: "Callable[[WatchedJob, list[Subscription]], None]",
        on_idle: "Callable[[WatchedJob], None]",
    ) -> None:
        self.job_id = job_id
        self.row: ProcessingJob | None = None  # as it was last read; None where there is no such job
        self.facts: Facts | None = None  # as they were last read
        self.needs_row = True
        self._known_upto = 0  # the position at which `facts` were last read: an edit beyond may have changed them
        self.has_hole = False  # the log no longer has the events that come next
        self.doubts = 0  # how often somebody was found to see it no longer, perhaps while they subscribe
        self.is_failing = False  # what the database has of it can't be shown
        self.subscriptions: dict[Connection, Subscription] = {}
        self.asking: Shared[tuple[int, int, Any], bool | None] = Shared()  # whether a client may watch
        self.backscroll = Backscroll(job_id)
        self._pending = 0
        # Who gets every event as it comes, by which extras they want.
        self._live: dict[frozenset[EventKind], dict[Connection, None]] = {}
        self._window: Window | None = None
        self._replay: Replay | None = None  # of what came before the window
        self._answers = Answers()
        self._read = read
        self._admit_again = admit_again
        self._on_idle = on_idle

    @property
    def position(self) -> Position | None:
        """How far the job is followed; None before it was read, and after it is gone."""
        return None if self._window is None else self._window.position

    @property
    def is_idle(self) -> bool:
        """Whether nobody watches nor is subscribing."""
        return not (self.subscriptions or self._pending)

    # What the log reader brings

    def is_continued_by(self, head: Head) -> bool:
        """Take note of a head. Return whether it is enough to read on in the log; otherwise `take` needs the row."""
        is_known = self.facts == Facts.of(head)
        if is_known:
            self._known_upto = head.seq
        return is_known and self._can_read_on_to(head)

    def _can_read_on_to(self, head: "Head | ProcessingJob") -> bool:
        """Return whether the events up to there can be read: they are of this stream, kept, and not too many."""
        if self._window is None or self._window.position.epoch != head.epoch:
            return False
        behind = head.seq - self._window.position.seq
        return behind <= 0 or (behind <= conf.REPLAY_EVENTS and not self.has_hole)

    def was_set_back(self, head: "Head | ProcessingJob", seen: int) -> bool:
        """Return whether the log went back: it ends before what was seen, or the state at the same position differs.

        Args:
            head: What the database says.
            seen: The position that was known when the database was asked.

        """
        window = self._window
        if window is None or head.epoch != window.position.epoch:
            return False
        is_another = head.seq == window.position.seq and head.updated_at != window.changed_at
        return head.seq < seen or is_another

    def take(self, row: "ProcessingJob | None") -> None:
        """Take the job's row as it is now, and do what follows from it.

        Raises:
            ValueError: The row can't be shown; nothing has changed.

        """
        if row is None:
            self._end()
            return
        facts, about, stopped = Facts.of(row), job_about(row), []
        loaded = self._loaded(row)
        if facts != self.facts or (self._window is not None and news_of(about) != news_of(self._window.about)):
            stopped = self._stop(self.subscriptions.values())  # before anything is sent that they may no longer see
        elif loaded is not None:  # the log lines that they have missed come before the snapshot
            stopped = self._stop([each for each in self.subscriptions.values() if each.wants])
        if loaded is not None:
            self._window = loaded
            self._replay = Replay(loaded, partial(self._read_frames, loaded.position.epoch))
            for subscription in self.subscriptions.values():
                subscription.begin, subscription.has_skipped_events = loaded.position, True
            self._send([loaded.snapshot(recovered=False)])
        elif self._window is not None:
            self._window.describe(about)
        self.row, self.facts, self.has_hole, self.is_failing = row, facts, False, False
        self._known_upto = row.seq
        if stopped:
            self._admit_again(self, stopped)

    def _loaded(self, row: "ProcessingJob") -> Window | None:
        """Return a new window that begins where the job stands; None if the present one can be kept."""
        if self._can_read_on_to(row):
            return None
        window = Window(job_about(row), Position(row.epoch, row.seq), job_state(row), conf.RING_EVENTS)
        window.snapshot(recovered=False)  # raises where it can't be made
        return window

    def fail(self, error: Exception) -> None:
        """End all subscriptions for now: what the database has of the job can't be shown."""
        logger.warning("Job %s can't be shown: %r", self.job_id, error)
        self.is_failing = self.needs_row = True
        for subscription in list(self.subscriptions.values()):
            self.turn_away(subscription, unavailable(self.job_id))

    def _end(self) -> None:
        """End all subscriptions: there is no such job."""
        self.row = self.facts = self._window = self._replay = None
        self.has_hole = self.is_failing = False
        for subscription in list(self.subscriptions.values()):
            self.turn_away(subscription, job_not_found(self.job_id))

    def offer(self, publications: Sequence[Publication]) -> bool:
        """Take those events that come next, and send them together; return False if there is something to read.

        That is so after a start, and if one is missing before any. An edit counts as missing until the row was read
        after it: who may not see the job since then gets neither it nor what follows.
        """
        window = self._window
        if window is None:
            return False
        fresh: list[Frame] = []
        epoch, has_no_gap = window.position.epoch, True
        for publication in publications:
            verdict = window.verdict(publication.seq) if publication.epoch == epoch else Verdict.GAP
            if verdict is Verdict.FRESH and publication.kind == EventKind.EDIT and publication.seq > self._known_upto:
                verdict = Verdict.GAP
            if verdict is Verdict.FRESH:
                frame = event_frame(self.job_id, publication.seq, publication.kind, publication.text, epoch)
                window.append(frame)
                fresh.append(frame)
                if publication.is_of_start and (self.row is None or publication.seq > self.row.seq):
                    self.needs_row = True  # it may have told of its kind, plan and times, which are in no event
            has_no_gap = has_no_gap and verdict is not Verdict.GAP
        if fresh:
            self._send(fresh)
        return has_no_gap and not self.needs_row

    def _send(self, frames: list[Frame]) -> None:
        """Send frames to all who watch."""
        for wants, connections in self._live.items():
            if connections:
                fan_out(connections, visible(frames, wants))

    # Who watches

    @contextmanager
    def subscribing(self) -> Iterator[None]:
        """Keep the job while a subscription is being made; when the last one is, drop what was read for replays."""
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1
            if not self._pending:
                self._answers.forget()
                if self._replay is not None:
                    self._replay.forget_pages()
            self._check_idle()

    async def missed_since(self, since: Position) -> Sequence[Frame] | None:
        """Return the next events after a position without a gap, perhaps not all; None if they are no longer kept."""
        if self._window is None or self._replay is None or since.epoch != self._window.position.epoch:
            return None
        return await self._replay.after(since.seq)

    def recent_since(self, since: Position) -> Sequence[Frame] | None:
        """Return every event after a position, if memory reaches back so far; else None."""
        is_here = self._window is not None and since.epoch == self._window.position.epoch
        return self._window.after(since.seq) if self._window is not None and is_here else None

    async def _read_frames(self, epoch: str, after: int, upto: int) -> list[Frame]:
        publications = await self._read(self.job_id, Span(epoch, after, upto))
        return [event_frame(self.job_id, each.seq, each.kind, each.text, epoch) for each in publications]

    def replace(self, new: Subscription, since: Position | None) -> Position | None:
        """End a connection's earlier subscription; return where the new one begins, so that nothing is sent twice.

        What was sent to the earlier one may still be on its way, so the new one begins behind that; unless the client
        asks for more than the earlier one was ever sent. If the earlier one skipped events and the client asks for
        older ones, it gets a snapshot.
        """
        old = self.subscriptions.get(new.connection)
        if old is None:
            return since
        sent = old.stopped_at or self.position
        self.remove(new.connection)
        if since is None or sent is None or old.begin is None or not new.wants <= old.wants:
            return since
        if since.epoch == sent.epoch == old.begin.epoch and since >= old.begin:
            return max(since, sent)
        if old.has_skipped_events:
            new.begin, new.has_skipped_events = old.begin, True
        return since

    def is_wanted(self, subscription: Subscription) -> bool:
        """Return whether a subscription that is being made, or was stopped, is still needed."""
        is_here = subscription.stopped_at is None or self.subscriptions.get(subscription.connection) is subscription
        return is_here and subscription.connection.is_accepting

    def attach(
        self, subscription: Subscription, since: Position | None, missed: Sequence[Frame], *, recovered: bool
    ) -> None:
        """Send the rest of what it was to see since a position, and a snapshot; from here on it gets every event.

        It is recovered if it was sent all of them; otherwise the snapshot takes the place of some.
        """
        connection, was_stopped = subscription.connection, subscription.stopped_at is not None
        if not recovered:
            subscription.begin = self.position
        elif not was_stopped:
            subscription.begin = since
        assert self._window is not None
        knows_all, subscription.about = news_of(subscription.about) == news_of(self._window.about), self._window.about
        subscription.stopped_at = None
        self.subscriptions[connection] = subscription
        connection.watched[self.job_id] = None
        frames = list(missed)
        if not (recovered and knows_all):
            frames.append(self._window.snapshot(recovered=recovered))
        for chunk in self._answers.of(frames, subscription.wants):
            connection.send_chunk(chunk, lasting=True)
        self._live.setdefault(subscription.wants, {})[connection] = None

    def _stop(self, which: Iterable[Subscription]) -> list[Subscription]:
        """Stop sending to subscriptions, until each is attached again or turned away; return those it was sent to."""
        stopped = [each for each in which if each.stopped_at is None]
        for subscription in stopped:
            subscription.stopped_at = self.position
            self._live[subscription.wants].pop(subscription.connection, None)
        return stopped

    def turn_away(self, subscription: Subscription, refused: Refused) -> None:
        """End a subscription, and say why."""
        if self.subscriptions.get(subscription.connection) is subscription:
            self.remove(subscription.connection)
            subscription.refuse(refused)

    def remove(self, connection: Connection) -> None:
        """End a connection's subscription."""
        connection.watched.pop(self.job_id, None)
        subscription = self.subscriptions.pop(connection, None)
        if subscription is not None:
            subscription.give_back_place(self.job_id)
            self._live.get(subscription.wants, {}).pop(connection, None)
        self._check_idle()

    def _check_idle(self) -> None:
        if self.is_idle:
            self._on_idle(self)
