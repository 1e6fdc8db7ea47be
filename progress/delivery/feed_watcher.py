"""One socket's subscription to one feed: what it was sent, and what it has yet to be sent."""

from collections import OrderedDict
from collections.abc import Container, Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..conf import conf
from ..identity.identity import Identity
from ..identity.rights import may_view
from ..protocol.frames import FeedName, feed
from .connection import Connection

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

REMEMBERED = 4  # times PROGRESS_FEED_JOBS: how many shown jobs are remembered, to ask for access again
FRAME_CHARACTERS = 262_144  # of one frame's entries: at four bytes each, what stock Daphne sends at most


class Viewer(NamedTuple):
    """Who watches a feed: a connection's identity as it was once, since it may become another's at any time."""

    feed: FeedName
    identity: Identity

    @property
    def key(self) -> Hashable:
        """What decides what it sees: the same for all without a user, and for those who share one as read last."""
        user, _, proof = self.identity
        return self.feed, proof, id(user) if user.is_authenticated else None

    def sees(self, job: "ProcessingJob") -> bool:
        """Return whether a job belongs to the feed. May use the database, and raise what the policy does."""
        rights = self.identity.rights
        if self.feed == "mine" and (rights.user.pk is None or job.owner_id != rights.user.pk):
            return False
        return may_view(rights, job)


class FeedWatcher:
    """One socket's subscription to one feed."""

    def __init__(self, connection: Connection, name: FeedName) -> None:
        self.connection = connection
        self.name = name
        self.is_answered = False  # before that, it is sent no changes
        # The jobs that it was sent last. In a plain dict, the first is looked for behind all that were forgotten.
        self.shown: OrderedDict[str, None] = OrderedDict()
        self.owed: dict[str, None] = {}  # changed jobs that it alone has yet to be sent, if it may see them

    def answer(self, recent: list[str], job_ids: Iterable[str]) -> None:
        """Send the first frame: the latest jobs, as many as it can hold."""
        self.is_answered = True
        self.note_shown(job_ids)
        shown = next(_batches(reversed(recent)), [])
        self._send(shown[::-1], cut=len(shown) < len(recent))

    def send_changes(self, entries: dict[str, str]) -> None:
        """Send changed jobs, in as many frames as they take."""
        self.note_shown(entries)
        for batch in _batches(entries.values()):
            self._send(batch)

    def note_shown(self, job_ids: Iterable[str]) -> None:
        """Remember what was sent last, as much as a list may show."""
        for job_id in job_ids:
            self.shown[job_id] = None
            self.shown.move_to_end(job_id)
        for _ in range(len(self.shown) - REMEMBERED * conf.FEED_JOBS):
            self.shown.popitem(last=False)

    def owe(self, recent: Sequence[str]) -> bool:
        """Have the most recent jobs, newest first, sent soon if they were not; return whether there are any."""
        if not self.is_answered:
            return False
        new = [job_id for job_id in reversed(recent) if job_id not in self.shown]
        self.note_shown([job_id for job_id in reversed(recent) if job_id in self.shown])  # they are not to be forgotten
        self.owed |= dict.fromkeys(new)
        return bool(new)

    def still_owe(self, job_ids: Iterable[str], *, asked: Container[str]) -> None:
        """Owe, of the jobs that were asked about, these alone; what came to be owed meanwhile stays."""
        self.owed = dict.fromkeys([*job_ids, *(job_id for job_id in self.owed if job_id not in asked)])

    def _send(self, entries: list[str], *, cut: bool = False) -> None:
        self.connection.send(feed(self.name, entries, cut=cut))

    @property
    def viewer(self) -> Viewer:
        """Who watches now."""
        return Viewer(self.name, self.connection.identity)


def _batches(entries: Iterable[str]) -> Iterator[list[str]]:
    """Yield entries in batches that are each a frame."""
    batch: list[str] = []
    size = 0
    for entry in entries:
        if batch and size + len(entry) > FRAME_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(entry)
        size += len(entry)
    if batch:
        yield batch
