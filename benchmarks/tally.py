"""What all watchers of a run have seen together."""

import asyncio
import time
from collections import Counter
from typing import Any

from benchmarks import expected, payload
from benchmarks.known import Known


class Tally:
    """Counts what the watchers report.

    Args:
        plan: What is to be sent, and to whom.

    """

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.events: int = plan["events"]
        self.base: int = plan.get("base", payload.BASE)
        self.stamping: bool = plan.get("stamping", False)
        self.own_jobs: int = plan.get("own_jobs", 0)  # how many watchers have one; they alone may stall
        self.known: dict[str, Known] = {}  # by job
        self.stamps: list[tuple[int, float]] = []
        self.problems: Counter[str] = Counter()
        self.reads = 0  # without pings, heartbeats and closes, which go on when no more events come
        self.ready = self.finished = 0
        self.last_at = 0.0
        self.all_ready, self.all_finished = asyncio.Event(), asyncio.Event()

    def known_of(self, job: str) -> Known:
        """Return what is known of a job."""
        return self.known.setdefault(job, Known(self.base))

    def is_right(self, fields: dict[str, Any], data: bytes, job: str) -> bool:
        """Return whether an event holds what was sent; real writes have their own time and numbering."""
        if not self.plan.get("loose"):
            return expected.is_sent(fields, len(data), self.plan["size"], job)
        if not expected.is_written(fields, job):
            return False
        known = self.known_of(job)
        if known.shift is None:
            known.shift = expected.shift(fields)
        return known.shift == expected.shift(fields)

    def stamp(self, watcher: int, seq: int, moment: float) -> None:
        """Note when an event came to a watcher; those with a job of their own are not asked."""
        if watcher >= self.own_jobs:
            self.stamps.append((seq, moment))

    def one_ready(self) -> None:
        """Count a watcher that has its snapshot."""
        self.ready += 1
        if self.ready == self.plan["watchers"]:
            self.all_ready.set()

    def one_finished(self) -> None:
        """Count a watcher that has the last event, unless it was slow."""
        self.finished += 1
        self.last_at = time.monotonic()
        if self.finished == self.plan["watchers"] - self.plan.get("stalled", 0):
            self.all_finished.set()

    def count(self, problem: str, times: int = 1) -> None:
        """Count a problem that came up so often, if it did."""
        if times:
            self.problems[problem] += times

    def forget(self, watcher: Any) -> None:
        """Read no more from a watcher's socket: the affair of whoever reads from it."""
