"""What one client knows on one socket, folded as the protocol tells clients to; what may not be is claimed here."""

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jobs.states import EXTRAS, EventKind
from progress.conf import conf
from tests.simulation.database import Commit, Row, stalled_in, state_in

if TYPE_CHECKING:
    from tests.simulation.clients import Client

IMPOSSIBLE = 2**62
GRACE_SECONDS = 4.0  # for which what was true, or allowed, may still be shown: PROGRESS_SYNC_SECONDS and a round
ADMISSION_SECONDS = 0.0  # how old the row may be on which an admission is decided, when it was asked for
EPSILON = 1e-9  # seconds: after what happens at the same moment


@dataclass(slots=True)
class Request:
    """A subscription that was asked for, and is not answered yet."""

    job_id: str
    since: tuple[str, int] | None
    wants: frozenset[EventKind]
    taken_at: float | None = None  # when the server took the message
    last: int | None = None  # the last event since then
    restarted: bool = False
    got: set[int] = field(default_factory=set)  # events that came since it was sent
    superseded: int = 0  # up to here, ticks of the subscription before may have been superseded


@dataclass(slots=True)
class Back:
    """A backscroll that has begun."""

    epoch: str
    last: int  # up to here, what there is was sent, or left out
    whole_after: dict[str, int | None]  # by kind: from here on, each comes; None before the first, if some are left out
    lines: set[int] = field(default_factory=set)


class View:
    """A job as one client knows it on one socket."""

    def __init__(self, client: "Client", job_id: str) -> None:
        self.client, self.job_id = client, job_id
        self.database = client.world.database
        self.requests: deque[Request] = deque()
        self.is_live = False  # there is a subscription
        self.doubtful = False  # an unasked frame may have been taken for an answer: one more may come
        self.is_unsure = False  # whether there still is one
        self.wants: frozenset[EventKind] = frozenset()
        self.answered: Request | None = None  # the request that was answered last
        self.epoch, self.seq, self.shown = "", 0, ""
        self.begin = 0  # of the subscription: who asks for what was before it gets all since then again
        self.number = 0  # of the last commit that came
        self.back: Back | None = None
        self.lines: set[tuple[str, int]] = set()  # that came, by epoch and position

    @property
    def asked(self) -> Request | None:
        """The request that the server is at."""
        return self.requests[0] if self.requests and self.requests[0].taken_at is not None else None

    @property
    def may_be_refused(self) -> bool:
        """Whether there is a subscription, or one was asked for."""
        return self.is_live or self.asked is not None or self.doubtful

    @property
    def is_lenient(self) -> bool:
        """Whether the log itself has been tampered with, so that nothing can be said about gaps."""
        return self.job_id in self.database.set_back_jobs | self.database.spoiled_jobs

    def claim(self, holds: bool, what: str) -> None:
        self.client.claim(holds, f"{self.job_id}: {what}")

    @property
    def position(self) -> tuple[str, int]:
        """From where the client resumes."""
        return (self.epoch, self.seq) if self.back is None else (self.back.epoch, self.back.last)

    # Frames

    def backscroll(self, frame: dict[str, Any]) -> None:
        """Begin with the last log lines."""
        epoch, asked, before = frame["epoch"], self.asked, self.back
        is_wanted = bool(self._wanted(asked))
        self.claim(is_wanted or self.doubtful, "a backscroll unasked for")
        self._may_see("a backscroll", asked)
        has = asked.since if asked is not None else (self.epoch, self.seq)
        last = has[1] if has is not None and has[0] == epoch and has[1] < IMPOSSIBLE else 0
        lines: set[int] = set()
        if before is not None and before.epoch == epoch:  # it goes on, or begins again
            last, lines = max(last, before.last), before.lines
        cut = frame.get("cut", ())
        is_known = has is not None and has[0] == epoch and 0 < has[1] < IMPOSSIBLE
        self.claim(not (cut and is_known) or self.doubtful or self.is_lenient, "lines after its position are left out")
        self.back = Back(epoch, last, {kind: None if kind in cut else last for kind in EXTRAS}, lines)

    def _wanted(self, asked: Request | None) -> frozenset[EventKind]:
        """Return what is to come beside the state."""
        return asked.wants if asked is not None else self.wants if self.is_live else frozenset()

    def _line_back(self, frame: dict[str, Any], back: Back) -> None:
        seq, kind, asked = frame["seq"], frame["type"], self.asked
        commit = self.database.commits[int(frame["text"][1:])]
        self.claim(kind in self._wanted(asked) or self.doubtful, f"{kind} unasked for, before a snapshot")
        stream = self.database.lineage.get((self.job_id, back.epoch), {})
        self.claim((commit.job_id, commit.seq, commit.kind) == (self.job_id, seq, kind), "mixed up")
        self.claim(commit in stream.get(seq, ()), f"line {seq} of another stream")
        self._may_see("a line", asked)
        self._not_past_an_edit(commit, back.epoch)
        if seq <= back.last and asked is not None:
            return  # what it has: it was sent to the subscription before as well
        self.claim(seq > back.last, f"line {seq} after {back.last}: twice, or out of order")
        if back.whole_after[kind] is None:
            back.whole_after[kind] = seq - 1
        back.last = seq
        back.lines.add(seq)
        self.lines.add((back.epoch, seq))

    def _has_lines(self, frame: dict[str, Any], asked: Request | None) -> None:
        """Check that the lines before a snapshot are those that are there."""
        back, self.back = self.back, None
        wants = self._wanted(asked)
        if frame["recovered"] or self.is_lenient or self.doubtful or not wants:
            return
        if back is None and self.is_live and not self.wants:
            return  # one that was unasked, of the subscription before
        self.claim(back is not None and back.epoch == frame["epoch"], "a snapshot without the log lines before it")
        assert back is not None
        for kind in wants:
            if (after := back.whole_after[kind]) is not None:
                wanted = self.database.lines(self.job_id, back.epoch, kind, after, frame["seq"])
                missing = {seq for seq in wanted - back.lines if (back.epoch, seq) not in self.lines}
                self.claim(not missing, f"a backscroll up to {frame['seq']} without {sorted(missing)}")

    def event(self, frame: dict[str, Any]) -> None:
        kind, seq, asked = frame["type"], frame["seq"], self.asked
        is_extra = kind in EXTRAS
        if self.back is not None and is_extra:
            self._line_back(frame, self.back)
            return
        self.claim(self.back is None or asked is not None or self.doubtful, "a state within a backscroll")
        self.back = None
        commit = self.database.commits[int(frame["text" if is_extra else "message"][1:])]
        self.claim(
            self.is_live or (asked is not None and asked.since is not None), f"event {seq} without a subscription"
        )
        shown = kind if is_extra else "progress"
        was = commit.kind if commit.kind in EXTRAS else "progress"
        self.claim((commit.job_id, commit.seq, was) == (self.job_id, seq, shown), "mixed up")
        is_wanted = kind in self.wants or (asked is not None and kind in asked.wants)
        self.claim(not is_extra or is_wanted or self.doubtful, f"{kind} unasked for")
        if not is_extra:
            written = commit.status, commit.progress, commit.stalled
            self.claim(written == (frame["status"], frame["progress"], stalled_in(frame)), "not as it was written")
        epochs = {self.epoch, asked.since[0] if asked is not None and asked.since else self.epoch}
        streams = [self.database.lineage.get((self.job_id, epoch), {}) for epoch in epochs]
        self.claim(any(commit in stream.get(seq, ()) for stream in streams), f"event {seq} of another stream")
        self._order(seq, asked)
        self._may_see("an event", asked)
        self._not_past_an_edit(commit, self.epoch)
        if is_extra:
            self.lines.update((epoch, seq) for epoch in epochs)
        else:
            self.shown = frame["message"]
        self.number = commit.number

    def _order(self, seq: int, asked: Request | None) -> None:
        answered = self.answered
        if asked is None and self.doubtful and answered and answered.since and seq == answered.since[1] + 1:
            self.seq, self.answered = answered.since[1], None  # what was taken for the answer was none: here it begins
        if asked is None:
            self.claim(seq > self.seq, f"event {seq} after {self.seq}: twice, or out of order")
            self._no_gap(seq)
        else:
            if asked.last is None:
                asked.last = self.seq if asked.since is None else min(self.seq, asked.since[1])
            asks_for_more = asked.since is not None and asked.since[1] < self.begin
            may_restart = self.client.is_behind or asks_for_more or not asked.wants <= self.wants
            if seq <= asked.last and may_restart and asked.since and not asked.restarted:
                asked.restarted = True  # what waited was of the subscription before
                asked.last = asked.since[1]
            self.claim(seq > asked.last, f"event {seq} after {asked.last}: twice, or out of order, since subscribing")
            asked.last = seq
        for request in self.requests:
            request.got.add(seq)
        self.seq = seq

    def _no_gap(self, upto: int) -> None:
        hidden = EXTRAS - self.wants | ({EventKind.TICK} if self.client.is_behind else set())
        for seq in range(self.seq + 1, upto):
            kinds = self.database.kinds_at(self.job_id, self.epoch, seq)
            self.claim(self.is_lenient or bool(kinds & hidden), f"event {seq} was left out")

    def snapshot(self, frame: dict[str, Any]) -> None:
        state = state_in(frame)
        self.claim(state in self.database.states, f"never was {state}")
        asked = self.asked
        self.claim(self.is_live or asked is not None or self.doubtful, "a snapshot without a subscription")
        self._may_see("a snapshot", asked)
        self._has_lines(frame, asked)
        if self.is_live and self.epoch == frame["epoch"] and not (frame["recovered"] or self.is_lenient):
            self.claim(frame["seq"] >= self.seq, f"back from {self.seq} to {frame['seq']}")
        if frame["recovered"]:
            self._recovered(frame, asked)
        elif asked is not None:
            self._not_recovered(frame, asked)
        else:
            self._unasked(frame)
        if asked is not None:
            self.doubtful |= self.is_live and not frame["recovered"]
            self.wants = asked.wants
            self.begin = asked.since[1] if frame["recovered"] and asked.since else frame["seq"]
            self.answered = self.requests.popleft()
        self.is_live, self.is_unsure = True, False
        self.epoch, self.seq, self.shown = frame["epoch"], frame["seq"], frame["message"]
        self.number = int(self.shown[1:])

    def _recovered(self, frame: dict[str, Any], asked: Request | None) -> None:
        if asked is None and self.doubtful:
            return  # one that was unasked has been taken for the answer
        since = asked.since if asked is not None else None
        self.claim(since is not None, "a recovery that nobody asked for")
        assert asked is not None
        assert since is not None
        self.claim(since[0] == frame["epoch"] and since[1] <= frame["seq"], f"recovered from {since}")
        hidden = EXTRAS - asked.wants
        missing = [seq for seq in range(since[1] + 1, frame["seq"] + 1) if seq not in asked.got]
        missing = [seq for seq in missing if not self.database.kinds_at(self.job_id, since[0], seq) & hidden]
        if self.client.is_behind:
            ticks = {EventKind.TICK}
            missing = [
                seq
                for seq in missing
                if seq > asked.superseded or not self.database.kinds_at(self.job_id, since[0], seq) & ticks
            ]
        self.claim(not missing, f"recovered from {since[1]} to {frame['seq']} without {missing}")

    def _is_there(self, epoch: str) -> bool:
        row = self.database.rows.get(self.job_id)
        return row is not None and row.epoch == epoch

    def _not_recovered(self, frame: dict[str, Any], asked: Request) -> None:
        if asked.since is None or self.is_lenient or self.doubtful:
            return
        epoch, seq = asked.since
        is_kept = self._is_there(epoch) and self.database.pruned.get((self.job_id, epoch), 0) <= seq
        is_near = 0 <= frame["seq"] - seq <= conf.REPLAY_EVENTS
        self.claim(not (epoch == frame["epoch"] and is_kept and is_near), f"not recovered from {seq} to {frame['seq']}")
        self.claim(asked.last is None or self.is_live or self.client.is_behind, "a partial recovery")

    def _unasked(self, frame: dict[str, Any]) -> None:
        key = self.job_id, self.epoch
        is_gone = self.database.pruned.get(key, 0) > self.seq or not self._is_there(self.epoch)
        # What was missing then may have come since, too late.
        is_gone |= self.client.world.loop.time() - self.database.pruned_at.get(key, -GRACE_SECONDS) < GRACE_SECONDS
        is_anew = self.epoch != frame["epoch"]
        is_far = frame["seq"] - self.seq > conf.REPLAY_EVENTS
        may_be = is_gone or is_anew or is_far or self.doubtful or self.is_lenient
        self.claim(may_be, f"a snapshot instead of events {self.seq + 1}…")
        if self.doubtful and self.answered is not None:
            self.wants |= self.answered.wants  # it may be the answer to what an unasked frame was taken for
        self.doubtful = False

    def error(self, frame: dict[str, Any]) -> None:
        """Note that a subscription was refused, or is over."""
        asked, user, self.back = self.asked, self.client.user, None
        self.claim(self.may_be_refused, f"an error without a subscription: {frame}")
        if frame["code"] == "job_not_found":
            recent = self._recent(asked)
            was_anew = len({row.epoch if row else "" for row in recent}) > 1
            # The guests are read after the row, and may be those of a later moment.
            mixed = [row and row._replace(guests=other.guests) for row in recent for other in recent if other]
            was_hidden = any(row is None or not self.client.world.allows(user, row) for row in (*recent, *mixed))
            self.claim(was_anew or was_hidden or self.doubtful, "not found, though it is there and allowed")
        elif frame["code"] == "unavailable":
            had_trouble = self.client.world.had_trouble(GRACE_SECONDS, user, self.job_id)
            is_gone = self.database.pruned.get((self.job_id, self.epoch), 0) > 0 or not self._is_there(self.epoch)
            is_faster = not is_gone and self.database.rows[self.job_id].seq - self.seq > conf.REPLAY_EVENTS
            is_under_a_replay = is_gone or is_faster  # close 4010
            self.claim(had_trouble or is_under_a_replay or self.is_lenient, "unavailable, though nothing was wrong")
        was_replaced = self.is_live and asked is not None
        self.doubtful |= was_replaced
        if asked is not None:
            self.answered = self.requests.popleft()
        # Whether a subscription stays that could not be replaced by another, nobody says: the client asks again.
        self.is_unsure = was_replaced and frame["code"] == "unavailable"
        self.is_live = self.is_unsure

    def _may_see(self, what: str, asked: Request | None) -> None:
        world = self.client.world
        if asked is None and world.had_trouble(GRACE_SECONDS):
            return  # nobody can have noticed
        rows = self._recent(asked)
        self.claim(
            any(row is not None and world.allows(self.client.user, row) for row in rows), f"{what} behind a closed door"
        )

    def _not_past_an_edit(self, commit: Commit, epoch: str) -> None:
        """Check that nobody gets what an edit hides from them, nor the edit itself: at once, whatever the trouble."""
        edited_at = self.database.last_edit(self.job_id, epoch, commit.seq)
        if edited_at > float("-inf") and self.job_id not in self.database.set_back_jobs:
            rows = self.database.since(self.job_id, edited_at + EPSILON)
            may_see = any(row is not None and self.client.world.allows(self.client.user, row) for row in rows)
            self.claim(may_see, f"event {commit.seq}, though an edit before has hidden the job")

    def _recent(self, asked: Request | None) -> list[Row | None]:
        """Return what the job was while what is sent now was decided."""
        now = self.client.world.loop.time()
        slow = conf.SEND_SECONDS + 1 if self.client.is_behind else 0.0
        begin = now - GRACE_SECONDS - slow
        if asked is not None and not self.is_live:
            begin = max(begin, asked.taken_at - ADMISSION_SECONDS)
        return self.database.since(self.job_id, begin)

    def waiting(self, *, ticks: bool) -> int:
        """Return how many events may wait for this client that no other supersedes."""
        later = self.database.commits[self.number + 1 :]
        return sum(each.job_id == self.job_id and (ticks or each.kind is not EventKind.TICK) for each in later)

    # In the end

    def missing_truth(self) -> str:
        """Return what is not as it should be, once all is quiet."""
        row = self.database.rows.get(self.job_id)
        if row is None or not self.client.world.allows(self.client.user, row):
            return "still watched, though it is gone or forbidden" if self.is_live else ""
        if not self.is_live:
            return "not watched"
        if (self.epoch, self.shown) != (row.epoch, row.message) or (self.wants == EXTRAS and self.seq != row.seq):
            return f"shows {self.epoch} {self.seq} {self.shown!r}, but it is at {row.epoch} {row.seq} {row.message!r}"
        return ""


def summary(frame: dict[str, Any]) -> str:
    """Return what a frame says, for the story."""
    names = "job_id", "subject", "epoch", "seq", "message", "text", "status", "recovered", "code"
    shown = [f"{name}={frame[name]}" for name in names if name in frame]
    jobs = [f"{job['job_id']}:{job['status']}:{job['message']}" for job in frame.get("jobs", ())]
    return " ".join([frame["type"], *shown, *jobs])
