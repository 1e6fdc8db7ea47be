"""The log reader: the only one in a process that asks the database about the jobs that are watched.

Whatever there is to know, that is how: the job is marked, and the next round reads for all jobs that are. A first
load, a gap, a client that has seen more, a log to catch up with are all the same, so no change can fall between
two readers. Now and then a round takes in every watched job: behind a channel layer every few seconds; without
one, as the way in which events of other processes get here.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ..broker.messages import Publication, publication_of
from ..conf import conf
from ..protocol.exceptions import unavailable
from ..source.store import Head, Span, lifecycle, selectors
from . import reads
from .sqlite_changes import DataVersion
from .watched_job import WatchedJob

if TYPE_CHECKING:
    from ..source.store import ProcessingJob

logger = logging.getLogger(__name__)

ROUND_EVENTS = 1_000  # read from the log in one round
GATHER_SECONDS = 0.005  # after a round, so that what is asked for by many is read at once; after a pause it is at once
TIMER_SECONDS = 1e-6  # by which a timer may come early

Rows = dict[str, "ProcessingJob | Exception"]


class Round:
    """What one visit to the database is to read, and what came of it."""

    def __init__(self) -> None:
        self.marked: dict[str, None] = {}  # by their ids: meanwhile a job may be dropped, and watched anew
        self.is_over = asyncio.Event()
        self.error: BaseException | None = None


class LogReader:
    """Brings the watched jobs to where their logs are.

    Args:
        jobs: The watched jobs by their ids, as the hub keeps them.
        hears_others: Returns whether a channel layer brings what other processes write.
        on_sweep: Called after each round that took in every job.

    """

    def __init__(
        self, jobs: Mapping[str, WatchedJob], hears_others: Callable[[], bool], on_sweep: Callable[[], None]
    ) -> None:
        self._jobs = jobs
        self._hears_others = hears_others
        self._on_sweep = on_sweep
        self._now: Round | None = None  # the one that reads
        self._next = Round()
        self._wanted = asyncio.Event()  # there is something to do before the time
        self._sweep_now = False
        self._swept_at = self._polled_at = float("-inf")

    # What others ask for

    def mark(self, job: WatchedJob, *, whole: bool = False) -> None:
        """Have a job looked at in the next round; its whole row, or what says where it stands."""
        job.needs_row = job.needs_row or whole
        self._next.marked[job.job_id] = None
        self._wanted.set()

    def sweep(self) -> None:
        """Have every job looked at in the next round."""
        self._sweep_now = True
        self._wanted.set()

    async def renew(self, job: WatchedJob) -> None:
        """Have the row of a job read as it is from now on; all who ask before the next round share it.

        Raises:
            Refused: It can't be read, or not be shown.

        """
        self.mark(job, whole=True)
        coming = self._next
        await coming.is_over.wait()
        if coming.error is not None or job.is_failing:
            raise unavailable(job.job_id)

    async def read(self, job_id: str, span: Span) -> Sequence[Publication]:
        """Return what the log of one job still has of a span and can be shown."""
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
            self._sweep_now = True  # for what an earlier one did not get to, and what the counter was not there to see
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
        """Wait until there is something to read; return whether that is every job."""
        while True:
            self._wanted.clear()
            seconds = self._seconds_to_sweep(version)
            if seconds < TIMER_SECONDS or self._next.marked:
                return seconds < TIMER_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds if version is None else min(seconds, conf.POLL_SECONDS)):
                    await self._wanted.wait()

    def _seconds_to_sweep(self, version: DataVersion | None) -> float:
        now = asyncio.get_running_loop().time()
        hears_others = self._hears_others()
        if version is not None and not hears_others and now - self._polled_at > conf.POLL_SECONDS - TIMER_SECONDS:
            self._polled_at = now
            self._sweep_now = version.has_changed() or self._sweep_now  # it says so once
        if self._sweep_now:
            return 0
        interval = conf.SYNC_SECONDS if hears_others or version is not None else conf.SWEEP_SECONDS
        return self._swept_at - now + interval

    async def _round(self, *, is_sweep: bool) -> None:
        """Read what is to be read, and bring each job to it."""
        this = self._now = self._next
        self._next = Round()
        self._sweep_now = False
        wanted = list(self._jobs if is_sweep else this.marked)
        await self._read_all([self._jobs[job_id] for job_id in wanted if job_id in self._jobs])
        self._now = None
        this.is_over.set()
        if is_sweep:
            self._swept_at = asyncio.get_running_loop().time()
            self._on_sweep()

    def _fail(self, error: BaseException) -> None:
        """Tell those who wait for a round that it failed: what was to be read, the next `run` begins with."""
        for failed in self._now, self._next:
            if failed is not None:
                failed.error = error
                failed.is_over.set()
        self._now, self._next = None, Round()

    async def _read_all(self, jobs: Sequence[WatchedJob], *, is_anew: bool = False) -> None:
        if not jobs:
            return
        seen = {job.job_id: job.position.seq if job.position else 0 for job in jobs}
        whole = {job.job_id: job for job in jobs if job.needs_row}
        for job in whole.values():
            job.needs_row = False  # before the row is read: whoever asks from here on wants a later one
        others = [job_id for job_id in seen if job_id not in whole]
        rows, heads = await reads.in_thread(_rows_and_heads, list(whole), others)
        here = [job for job in jobs if self._jobs.get(job.job_id) is job]
        set_back = []
        reached = {}
        for job in here:
            found = rows.get(job.job_id) if job.job_id in whole else heads.get(job.job_id)
            if found is None or isinstance(found, Exception):
                _take(job, found)
            elif job.is_contradicted(found, seen[job.job_id]) and is_anew:
                job.fail(RuntimeError("its log was set back, and somebody holds its row"))
            elif job.is_contradicted(found, seen[job.job_id]):
                set_back.append(job)
            else:
                reached[job] = found.seq
                if not isinstance(found, Head):
                    _take(job, found)
                elif not job.goes_on(found):
                    self.mark(job, whole=True)
        await self._read_missing(reached)
        await self._begin_anew(set_back)

    async def _begin_anew(self, set_back: Sequence[WatchedJob]) -> None:
        """Give jobs whose logs were set back another stream, and begin with what their rows say."""
        for job in set_back:
            if job.position is not None:
                await reads.in_thread(lifecycle.renew_epoch, job.job_id, job.position.epoch)
                job.needs_row = True
        if set_back:
            await self._read_all(set_back, is_anew=True)

    async def _read_missing(self, reached: Mapping[WatchedJob, int]) -> None:
        """Read on towards where each job stands: so many events in a round, first of those with the fewest to read."""
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
        if not spans:
            return
        found = await reads.in_thread(_publications, {job.job_id: span for job, span in spans.items()})
        for job, span in spans.items():
            job.offer(found[job.job_id])
            if job.position is not None and job.position.epoch == span.epoch and job.position.seq < span.upto:
                job.has_hole = True  # the events up to there are no longer kept
                self.mark(job, whole=True)


def _take(job: WatchedJob, row: "ProcessingJob | Exception | None") -> None:
    try:
        if isinstance(row, Exception):
            raise row
        job.take(row)
    except Exception as error:  # whatever is wrong with a row, it harms its own job only
        job.fail(error)


# In a thread


def _rows_and_heads(whole: Sequence[str], others: Sequence[str]) -> tuple[Rows, dict[str, Head]]:
    rows = reads.each(lambda job_ids: {job.pk: job for job in selectors.get_jobs(job_ids)}, whole)
    return rows, selectors.heads(others)


def _publications(spans: Mapping[str, Span]) -> dict[str, list[Publication]]:
    """Return the events of each span, in order, up to one that can't be shown."""
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
