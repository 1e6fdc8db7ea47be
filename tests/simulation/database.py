"""The database: rows and log as the selectors show them at this moment, and all that was ever true."""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random
from typing import Any, NamedTuple

from jobs import selectors
from jobs.events import Event
from jobs.models import JobEvent, ProcessingJob
from jobs.states import EXTRAS, LISTED, EventKind

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STATUSES = "queued", "in_progress", "failed"  # one after the other, again and again: watchers do not judge


class Row(NamedTuple):
    """A job as it stands."""

    job_id: str
    epoch: str
    seq: int
    status: str
    progress: float
    message: str  # names the last commit that changed what is shown
    owner_id: int | None
    public: bool
    created_at: datetime
    status_changed_at: datetime
    updated_at: datetime
    guests: tuple[int, ...] = ()  # who else may see it: that is in a table of the host's own
    stalled: str = ""  # since when its worker is lost

    def model(self) -> ProcessingJob:
        fields = self._asdict()
        del fields["guests"], fields["stalled"]
        return ProcessingJob(id=fields.pop("job_id"), name="", metadata=shown_of(self.stalled), **fields)

    @property
    def head(self) -> selectors.Head:
        return selectors.Head(self.epoch, self.seq, self.updated_at, self.owner_id, self.public, "")

    @property
    def state(self) -> tuple[Any, ...]:
        return self.job_id, self.epoch, self.seq, self.status, self.progress, self.message, self.stalled


def shown_of(stalled: str) -> dict[str, Any]:
    """Return the metadata of a job whose worker is lost since then, or of one whose worker is there."""
    return {"stalled": {"since": stalled, "then": "leave"}} if stalled else {}


def stalled_in(frame: dict[str, Any]) -> str:
    """Return since when the worker is lost, as a frame shows it."""
    since: str = frame["metadata"].get("stalled", {}).get("since", "")
    return since


def state_in(frame: dict[str, Any]) -> tuple[Any, ...]:
    """Return what a frame shows, as `Row.state` has it."""
    names = "job_id", "epoch", "seq", "status", "progress", "message"
    return (*(frame[name] for name in names), stalled_in(frame))


class Commit(NamedTuple):
    """An event of a job's log."""

    number: int  # of all that was ever written: text and message name it, so each frame tells what it shows
    job_id: str
    seq: int
    kind: EventKind
    status: str
    progress: float
    at: datetime
    stalled: str = ""

    @property
    def text(self) -> str:
        return f"c{self.number}"

    @property
    def metadata(self) -> dict[str, Any]:
        about = {EventKind.LOG: {"level": "info"}, EventKind.OUTPUT: {"name": "output", "offset": self.number}}
        return about.get(self.kind, shown_of(self.stalled))

    def event(self, epoch: str) -> Event:
        """Return the event as it is told."""
        shown = self.status, self.progress, self.text, self.metadata, self.at
        return Event(self.job_id, epoch, self.seq, self.kind, *shown)

    def model(self) -> JobEvent:
        fields = {"message": self.text, "metadata": self.metadata, "timestamp": self.at}
        shown = {"kind": self.kind.value, "status": self.status, "progress": self.progress}
        return JobEvent(job_id=self.job_id, seq=self.seq, **shown, **fields)


class Database:
    """What is stored now; for the judges, what ever was."""

    def __init__(self, time: Any) -> None:
        self._time = time
        self._epochs = 0
        self.version = 0  # SQLite's change counter
        self.rows_read: Counter[str] = Counter()
        self.rows: dict[str, Row] = {}
        self.log: dict[str, list[Commit]] = {}
        self.past: dict[str, list[Row]] = {}  # by seq: what a backup may bring back
        # All that was ever true
        self.commits: list[Commit] = []
        self.states: set[tuple[Any, ...]] = set()
        self.lineage: dict[tuple[str, str], dict[int, list[Commit]]] = {}  # what stood at each seq of a stream
        self.pruned: dict[tuple[str, str], int] = {}  # the floor: every event after it is kept
        self.pruned_at: dict[tuple[str, str], float] = {}
        self.access: dict[str, list[tuple[float, Row | None]]] = {}  # who might see it from when on
        self.edits: dict[tuple[str, str], list[tuple[int, float]]] = {}  # of a stream: where and when
        self.set_back_jobs: set[str] = set()
        self.spoiled_jobs: set[str] = set()

    def now(self) -> datetime:
        return BEGIN + timedelta(seconds=self._time(), microseconds=len(self.commits))

    # Writes

    def create(self, job_id: str, owner_id: int | None, *, public: bool) -> Commit:
        at = self.now()
        self.past[job_id], self.log[job_id] = [], []
        self.rows[job_id] = Row(job_id, self._new_epoch(), 0, "pending", 0.0, "", owner_id, public, at, at, at)
        self._note_access(job_id)
        return self.commit(job_id, EventKind.STATUS)

    def commit(
        self, job_id: str, kind: EventKind, progress: float | None = None, *, stalled: str | None = None
    ) -> Commit:
        """Write an event. Where it says whether the worker is lost, that is all it changes; any report says it is not.

        As `jobs.changes` has it: a report that does so is a change of status, of which lists are told.
        """
        row = self.rows[job_id]
        is_kept = kind in EXTRAS or kind is EventKind.EDIT
        is_of_worker = stalled is not None or bool(row.stalled and not is_kept and kind is not EventKind.STATUS)
        if stalled is None:
            stalled = row.stalled if is_kept else ""
        kind = EventKind.STATUS if is_of_worker else kind
        status = STATUSES[len(self.commits) % 3] if kind is EventKind.STATUS and not is_of_worker else row.status
        shown = float(len(self.commits) % 100) if progress is None else progress
        commit = Commit(len(self.commits), job_id, row.seq + 1, kind, status, shown, self.now(), stalled)
        row = row._replace(seq=commit.seq)
        if kind not in EXTRAS:
            row = row._replace(status=status, progress=shown, message=commit.text, updated_at=commit.at)
            row = row._replace(stalled=stalled)
        if kind in LISTED:
            row = row._replace(status_changed_at=commit.at)
        self.commits.append(commit)
        self.log[job_id].append(commit)
        self.past[job_id].append(row)
        self.lineage.setdefault((job_id, row.epoch), {}).setdefault(commit.seq, []).append(commit)
        self._store(row)
        return commit

    def spoil(self, job_id: str) -> None:
        """Write what can't be encoded, past all checks."""
        self.spoiled_jobs.add(job_id)
        self.commit(job_id, EventKind.TICK, float("inf"))

    def delete(self, job_id: str) -> None:
        del self.rows[job_id], self.log[job_id], self.past[job_id]
        self.version += 1
        self._note_access(job_id)

    def prune(self, job_id: str, upto: int) -> None:
        self.raise_floor(job_id, upto)
        self.log[job_id] = [commit for commit in self.log[job_id] if commit.seq > upto]

    def raise_floor(self, job_id: str, upto: int) -> None:
        """Commit that not every event up to there is kept."""
        key = job_id, self.rows[job_id].epoch
        self.pruned[key] = max(upto, self.pruned.get(key, 0))
        self.pruned_at[key] = self._time()
        self.version += 1

    def compaction(self, job_id: str, upto: int, chance: Random) -> list[Callable[[], None]]:
        """Return the steps of `jobs.retention`: the floor, then the ticks, a few at a time."""
        seqs = list(range(1, upto + 1))
        chance.shuffle(seqs)
        batches = set(seqs[: upto // 2]), set(seqs[upto // 2 :])
        return [
            partial(self.raise_floor, job_id, max(0, upto)),
            *(partial(self.delete_ticks, job_id, batch) for batch in batches),
        ]

    def delete_ticks(self, job_id: str, seqs: set[int]) -> None:
        """Delete some of the ticks below the floor, in any order."""
        self.log[job_id] = [each for each in self.log[job_id] if each.kind != EventKind.TICK or each.seq not in seqs]
        self.version += 1

    def set_back(self, job_id: str, seq: int) -> None:
        """Restore a backup: the row and the tail of the log are what they were."""
        self.set_back_jobs.add(job_id)
        self.past[job_id] = self.past[job_id][:seq]
        self.log[job_id] = [commit for commit in self.log[job_id] if commit.seq <= seq]
        self._store(self.past[job_id][-1])
        self._note_access(job_id)

    def admit(self, job_id: str, owner_id: int | None, *, public: bool) -> None:
        """Give a job to another owner, or to everybody, or to nobody else."""
        self.past[job_id] = [row._replace(owner_id=owner_id, public=public) for row in self.past[job_id]]
        self._store(self.past[job_id][-1])
        self._note_access(job_id)

    def edit(self, job_id: str, owner_id: int | None, *, public: bool) -> Commit:
        """Do the same by an event."""
        self.admit(job_id, owner_id, public=public)
        self.access[job_id].pop()
        commit = self.commit(job_id, EventKind.EDIT)
        self.edits.setdefault((job_id, self.rows[job_id].epoch), []).append((commit.seq, self._time()))
        self._note_access(job_id)
        return commit

    def invite(self, job_id: str, guests: tuple[int, ...]) -> None:
        """Let these, and no others, see a job that they could not see otherwise; its row stays as it is."""
        self.past[job_id] = [row._replace(guests=guests) for row in self.past[job_id]]
        self._store(self.past[job_id][-1])
        self._note_access(job_id)

    def renew_epoch(self, job_id: str, epoch: str, *_: Any, **__: Any) -> None:
        """Stand in for `jobs.epochs.renew_epoch`: give a row another epoch, if it still has this one."""
        row = self.rows.get(job_id)
        if row is not None and row.epoch == epoch:
            floor = min(self.pruned.get((job_id, epoch), 0), row.seq)
            row = row._replace(epoch=self._new_epoch())
            kept = self.log[job_id]
            self.lineage[job_id, row.epoch] = {commit.seq: [commit] for commit in kept}
            self.pruned[job_id, row.epoch] = max(floor, kept[0].seq - 1 if kept else row.seq)
            self.past[job_id][-1] = row
            self._store(row)
            self._note_access(job_id)

    def _store(self, row: Row) -> None:
        self.rows[row.job_id] = row
        self.states.add(row.state)
        self.version += 1

    def _new_epoch(self) -> str:
        self._epochs += 1
        return f"e{self._epochs}"

    def _note_access(self, job_id: str) -> None:
        self.access.setdefault(job_id, []).append((self._time(), self.rows.get(job_id)))

    # What was true

    def since(self, job_id: str, begin: float) -> list[Row | None]:
        """Return what a job was to those who ask for access, from a time until now."""
        history = self.access.get(job_id, [])
        before = [row for at, row in history if at < begin][-1:] or [None]
        return before + [row for at, row in history if at >= begin]

    def last_edit(self, job_id: str, epoch: str, upto: int) -> float:
        """Return when the last edit up to a position was committed."""
        return max((at for seq, at in self.edits.get((job_id, epoch), ()) if seq <= upto), default=float("-inf"))

    def kinds_at(self, job_id: str, epoch: str, seq: int) -> set[EventKind]:
        return {commit.kind for commit in self.lineage.get((job_id, epoch), {}).get(seq, ())}

    # The selectors, old and new

    def get_job(self, job_id: str) -> ProcessingJob | None:
        return next(iter(self.get_jobs([job_id])), None)

    def get_jobs(self, job_ids: Iterable[str]) -> list[ProcessingJob]:
        return [row.model() for row in self._find(job_ids)]

    def positions(self, job_ids: Iterable[str]) -> dict[str, tuple[str, int]]:
        return {row.job_id: (row.epoch, row.seq) for row in self._find(job_ids)}

    def heads(self, job_ids: Iterable[str]) -> dict[str, Any]:
        return {row.job_id: row.head for row in self._find(job_ids)}

    def events_after(self, cursors: dict[str, tuple[str, int]], limit: int) -> list[Event]:
        found: list[Event] = []
        for job_id, (epoch, seq) in sorted(cursors.items()):
            found += [commit.event(epoch) for commit in self._between(job_id, epoch, seq, None)]
        return found[:limit]

    def events_between(self, spans: Any, *span: Any) -> Any:
        if isinstance(spans, str):
            return [commit.event(span[0]) for commit in self._between(spans, *span)]
        return {job_id: [each.model() for each in self._between(job_id, *span)] for job_id, span in spans.items()}

    def last_begin(self, job_id: str, span: Any, kind: str, most: int, size: int) -> int | None:
        before = [each for each in self._lines(job_id, span.epoch, kind) if span.after < each.seq <= span.upto]
        kept = [
            each for each in before[-most:] if sum(len(later.text) for later in before if later.seq >= each.seq) <= size
        ]
        left = before[: len(before) - len(kept)]
        return left[-1].seq if left else None

    def first_events(self, job_id: str, span: Any, kind: str, most: int, size: int) -> tuple[list[JobEvent], int]:
        found: list[JobEvent] = []
        for commit in self._lines(job_id, span.epoch, kind):
            if span.after < commit.seq <= span.upto:
                if len(found) == most or (found and sum(len(each.message) for each in (*found, commit.model())) > size):
                    return found, commit.seq - 1
                found.append(commit.model())
        return found, span.upto

    def lines(self, job_id: str, epoch: str, kind: str, after: int, upto: int) -> set[int]:
        """Return the positions of the log lines, or the output, that are there now."""
        return {each.seq for each in self._lines(job_id, epoch, kind) if after < each.seq <= upto}

    def _lines(self, job_id: str, epoch: str, kind: str) -> list[Commit]:
        row = self.rows.get(job_id)
        return [each for each in self.log[job_id] if each.kind == kind] if row and row.epoch == epoch else []

    def recent_jobs(self, user: Any, limit: int, *, own: bool = False, **_: Any) -> list[ProcessingJob]:
        rows = sorted(self.rows.values(), key=lambda row: (row.created_at, row.job_id), reverse=True)
        seen = [row for row in rows if may_view(user, row, row.guests) and (not own or row.owner_id == user.pk)]
        return [row.model() for row in seen[:limit]]

    def jobs_changed_since(self, since: datetime, *_: Any, **__: Any) -> list[tuple[str, str, str, datetime]]:
        rows = sorted(self.rows.values(), key=lambda row: row.status_changed_at)
        rows = [row for row in rows if row.status_changed_at >= since]
        return [(row.job_id, row.epoch, row.status, row.status_changed_at) for row in rows]

    def _find(self, job_ids: Iterable[str]) -> list[Row]:
        wanted = sorted(job_ids)
        self.rows_read.update(wanted)
        return [self.rows[job_id] for job_id in wanted if job_id in self.rows]

    def _between(self, job_id: str, epoch: str, after: int, upto: int | None) -> list[Commit]:
        if job_id not in self.rows or self.rows[job_id].epoch != epoch:
            return []
        after = max(after, self.pruned.get((job_id, epoch), 0))
        return [each for each in self.log[job_id] if each.seq > after and (upto is None or each.seq <= upto)]


def may_view(user: Any, job: Any, guests: tuple[int, ...]) -> bool:
    """Tell whether a user may see a row or a job: by the rule of `jobs.access.AccessPolicy`, or as a guest."""
    is_concerned = user.is_authenticated and (job.owner_id == user.pk or user.pk in guests)
    return job.public or is_concerned or user.is_staff
