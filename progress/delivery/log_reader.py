"""The log reader: the only one in a process that reads the watched jobs from the database.

Whoever needs something read marks the job, and the next round reads for all marked jobs at once: for a first load, a
gap, a client that has seen more than this process, or a log to catch up with. Since rounds follow one another, no
change can fall between two readers. A round that reads for every watched job is a sweep. With a channel layer there is
one every few seconds, which finds what that has lost; without one, it is how events of other processes arrive.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..broker.messages import Publication, publication_of
from ..conf import conf
from ..protocol.exceptions import unavailable
from ..source.store import Head, Span, epochs, selectors
from . import reads
from .sqlite_changes import DataVersion
from .watched_job import WatchedJob

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)

ROUND_EVENTS = 250  # read from the log in one round: whoever watches another job waits for it
SHORT_EVENTS = 50  # of a job, which are read before those of whom there are more
GATHER_SECONDS = 0.005  # after a round, so that the next reads for many; after a pause, a round begins at once
TURNS = 2  # of the threads for reads, for who reads a backscroll: who watches live finds another
# Jobs that are read by sweeps which somebody has rung for: a tenth of the time, at 10 µs each. With very many watched
# jobs there are only the sweeps that come anyway.
RUNG_JOBS_A_SECOND = 10_000
TIMER_SECONDS = 1e-6  # by which a timer may come early

Rows = dict[str, "ProcessingJob | Exception"]


class Round:
    """What one round is to read, and how it ended."""

    def __init__(self) -> None:
        self.marked: dict[str, None] = {}  # ids of jobs: a job may be dropped, and watched anew, before it is read
        self.is_over = asyncio.Event()
        self.error: BaseException | None = None


class LogReader:
    """Brings the watched jobs to where their logs are.

    Args:
        jobs: The watched jobs by their ids, as the hub keeps them.
        layer_works: Returns whether there is a channel layer, and it brings what other processes write.
        on_sweep: Called after each sweep.

    """

    def __init__(
        self, jobs: Mapping[str, WatchedJob], layer_works: Callable[[], bool], on_sweep: Callable[[], None]
    ) -> None:
        self.turns = asyncio.Semaphore(TURNS)  # in the order in which they come
        self._jobs = jobs
        self._layer_works = layer_works
        self._on_sweep = on_sweep
        self._current: Round | None = None  # the one that is reading
        self._next = Round()
        self._wanted = asyncio.Event()  # a round, before the next sweep is due
        self._sweep_now = False
        self._is_rung = False  # somebody says that there is something to read
        self._swept_at = self._polled_at = float("-inf")

    # What others ask for

    def mark(self, job: WatchedJob, *, row: bool = False) -> None:
        """Have a job read in the next round: its row, or only its head."""
        job.needs_row = job.needs_row or row
        self._next.marked[job.job_id] = None
        self._wanted.set()

    def sweep(self) -> None:
        """Have every job read in the next round."""
        self._sweep_now = True
        self._wanted.set()

    def ring(self) -> None:
        """Have it looked soon whether others have committed. Whoever says so is not trusted: that is all it does."""
        self._is_rung = True
        self._wanted.set()

    async def refresh(self, job: WatchedJob) -> None:
        """Wait until a job's row was read in a round that begins after this call; all who wait for it share it.

        Raises:
            Refused: It can't be read, or not be shown.

        """
        self.mark(job, row=True)
        coming = self._next
        await coming.is_over.wait()
        if coming.error is not None or job.is_failing:
            raise unavailable(job.job_id)

    async def read(self, job_id: str, span: Span) -> Sequence[Publication]:
        """Return those events of a span that one job's log still has and that can be shown."""
        return (await reads.in_thread(_publications, {job_id: span}))[job_id]

    # The rounds

    async def run(self) -> None:
        """Read for as long as anybody watches.

        Raises:
            Error: The database does not answer; nothing is lost by it.

        """
        version = None
        try:
            version = DataVersion.of_database()
            self._sweep_now = True  # for what an earlier run left undone, or happened before the counter was read
            while True:
                await self._round(is_sweep=await self._until_due(version))
                await asyncio.sleep(GATHER_SECONDS)
        except BaseException as error:
            self._fail(error)
            raise
        finally:
            if version is not None:
                version.close()

    async def _until_due(self, version: DataVersion | None) -> bool:
        """Wait until there is something to read; return whether it is time for a sweep."""
        while True:
            self._wanted.clear()
            seconds = self._seconds_to_sweep(version)
            if seconds < TIMER_SECONDS or self._next.marked:
                return seconds < TIMER_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds if version is None else min(seconds, conf.POLL_SECONDS)):
                    await self._wanted.wait()

    def _seconds_to_sweep(self, version: DataVersion | None) -> float:
        """Return the seconds until the next sweep is due; that is now if SQLite's change counter has moved."""
        now = asyncio.get_running_loop().time()
        layer_works = self._layer_works()
        rest = self._swept_at - now + len(self._jobs) / RUNG_JOBS_A_SECOND  # until a ring counts
        is_rung = self._is_rung and rest < TIMER_SECONDS
        is_polled = version is not None and now - self._polled_at > conf.POLL_SECONDS - TIMER_SECONDS
        if not layer_works and (is_rung or is_polled):
            self._is_rung, self._polled_at = False, now
            self._sweep_now = version is None or version.has_changed() or self._sweep_now  # it says so once
        if self._sweep_now:
            return 0
        interval = conf.SYNC_SECONDS if layer_works or version is not None else conf.SWEEP_SECONDS
        due = self._swept_at - now + interval
        return min(due, rest) if self._is_rung else due

    async def _round(self, *, is_sweep: bool) -> None:
        """Read for the marked jobs, or for all."""
        this = self._current = self._next
        self._next = Round()
        self._sweep_now = False
        self._is_rung = self._is_rung and not is_sweep  # which reads what anybody has rung for
        wanted = list(self._jobs if is_sweep else this.marked)
        await self._read_all([self._jobs[job_id] for job_id in wanted if job_id in self._jobs])
        self._current = None
        this.is_over.set()
        if is_sweep:
            self._swept_at = asyncio.get_running_loop().time()
            self._on_sweep()

    def _fail(self, error: BaseException) -> None:
        """End the rounds that somebody may wait for, with an error; the next `run` begins with a sweep."""
        for failed in self._current, self._next:
            if failed is not None:
                failed.error = error
                failed.is_over.set()
        self._current, self._next = None, Round()

    async def _read_all(self, jobs: Sequence[WatchedJob], *, is_anew: bool = False) -> None:
        if not jobs:
            return
        seen = {job.job_id: job.position.seq if job.position else 0 for job in jobs}
        need_row = {job.job_id: job for job in jobs if job.needs_row}
        for job in need_row.values():
            job.needs_row = False  # before the row is read: whoever asks from here on wants a later one
        others = [job_id for job_id in seen if job_id not in need_row]
        rows, heads = await reads.in_thread(_rows_and_heads, list(need_row), others)
        here = [job for job in jobs if self._jobs.get(job.job_id) is job]
        set_back = []
        reached = {}
        for job in here:
            found = rows.get(job.job_id) if job.job_id in need_row else heads.get(job.job_id)
            if found is None or isinstance(found, Exception):
                _take(job, found)
            elif job.was_set_back(found, seen[job.job_id]) and is_anew:
                job.fail(RuntimeError("its log was set back, and somebody holds its row"))
            elif job.was_set_back(found, seen[job.job_id]):
                set_back.append(job)
            else:
                reached[job] = found.seq
                if not isinstance(found, Head):
                    _take(job, found)
                elif not job.is_continued_by(found):
                    self.mark(job, row=True)
        await self._read_missing(reached)
        await self._begin_anew(set_back)

    async def _begin_anew(self, set_back: Sequence[WatchedJob]) -> None:
        """Give jobs whose logs were set back another epoch, and load them from their rows."""
        for job in set_back:
            if job.position is not None:
                await reads.in_thread(epochs.renew_epoch, job.job_id, job.position.epoch)
                job.needs_row = True
        if set_back:
            await self._read_all(set_back, is_anew=True)

    async def _read_missing(self, reached: Mapping[WatchedJob, int]) -> None:
        """Read events from each job's position towards its head: `ROUND_EVENTS` at most, the shortest spans first."""
        spans: dict[WatchedJob, Span] = {}
        room = ROUND_EVENTS
        known = {job: job.position for job in reached if job.position is not None and not job.needs_row}
        for job, position in sorted(known.items(), key=lambda item: reached[item[0]] - item[1].seq):
            upto = min(reached[job], position.seq + room)
            if upto > position.seq:
                spans[job] = Span(position.epoch, position.seq, upto)
                room -= upto - position.seq
            if upto < reached[job]:
                self.mark(job)
        short = {job: span for job, span in spans.items() if span.upto - span.after <= SHORT_EVENTS}
        await self._read_spans(short)
        await self._read_spans({job: span for job, span in spans.items() if job not in short})

    async def _read_spans(self, spans: Mapping[WatchedJob, Span]) -> None:
        if not spans:
            return
        found = await reads.in_thread(_publications, {job.job_id: span for job, span in spans.items()})
        for job, span in spans.items():
            job.offer(found[job.job_id])
            if job.needs_row:
                self.mark(job)
            if job.position is not None and job.position.epoch == span.epoch and job.position.seq < span.upto:
                job.has_hole = True  # the events up to there are no longer kept
                self.mark(job, row=True)


def _take(job: WatchedJob, row: "ProcessingJob | Exception | None") -> None:
    try:
        if isinstance(row, Exception):
            raise row
        job.take(row)
    except Exception as error:  # whatever is wrong with a row, it harms its own job only
        job.fail(error)


# In a thread


def _rows_and_heads(of_rows: Sequence[str], of_heads: Sequence[str]) -> tuple[Rows, dict[str, Head]]:
    rows = reads.each(lambda job_ids: {job.pk: job for job in selectors.get_jobs(job_ids)}, of_rows)
    return rows, selectors.heads(of_heads)


def _publications(spans: Mapping[str, Span]) -> dict[str, list[Publication]]:
    """Return the events of each span, in order, up to the first that can't be shown."""
    logs = reads.each(lambda job_ids: selectors.events_between({each: spans[each] for each in job_ids}), list(spans))
    publications: dict[str, list[Publication]] = {}
    for job_id, log in logs.items():
        publications[job_id] = []
        try:
            if isinstance(log, Exception):
                raise log
            for event in log:
                publications[job_id].append(publication_of(event.as_event(spans[job_id].epoch)))
        except Exception as error:
            logger.warning("An event of job %s can't be shown: %r", job_id, error)
    return publications
