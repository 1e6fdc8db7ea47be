"""Any sequence of changes, transactions, rollbacks, retries, stale saves and lost connections, against a model.

The model is what the log must hold; each report that was confirmed is in it once, and nothing else is.
"""

import contextlib
import copy
import pickle
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs.batch import Pending, log_decision, progress_decision, write_together
from jobs.exceptions import InvalidTransition, StaleAttempt
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.signals import job_event_committed
from jobs.states import ALLOWED, TERMINAL, Status
from tests.jobs.cuts import cut, in_thread

pytestmark = pytest.mark.django_db(transaction=True)

MOVES = {
    "mark_queued": Status.QUEUED,
    "mark_started": Status.IN_PROGRESS,
    "mark_completed": Status.COMPLETED,
    "mark_failed": Status.FAILED,
    "mark_cancelled": Status.CANCELLED,
    "request_cancel": Status.CANCELLED,
    "retry": Status.QUEUED,
}
METHODS = (*MOVES, "mark_progress", "mark_progress", "log")


class Undo(Exception):
    """Rolls a block back."""


@dataclass
class Truth:
    """What is stored, as far as this connection sees, and which attempt each object is bound to."""

    status: str = "pending"
    attempt: int = 1
    is_asked: bool = False
    log: list[tuple[str, str, str]] = field(default_factory=lambda: [("status", "pending", "")])
    bound: list[int | None] = field(default_factory=list)

    def expected(self, number: int, method: str) -> type[Exception] | None:
        """Return what a change raises."""
        if self.bound[number] not in (None, self.attempt):
            return StaleAttempt
        if method == "log":
            return None
        if method == "mark_progress":
            return None if self.status == Status.IN_PROGRESS else InvalidTransition
        is_allowed = MOVES[method] in ALLOWED[Status(self.status)]
        if method in ("retry", "mark_queued"):
            is_allowed &= (self.status in TERMINAL) is (method == "retry")
        return None if is_allowed else InvalidTransition

    def change(self, number: int, method: str, words: str) -> None:
        """Do what a change does that is allowed."""
        if method == "log":
            self.log.append(("log", self.status, words))
        elif method == "mark_progress":
            self.log.append(("tick", self.status, words))
        elif method == "request_cancel" and self.status == Status.IN_PROGRESS:
            if not self.is_asked:
                self.is_asked = True
                self.log.append(("status", self.status, words))
        else:
            is_anew = method == "retry" or (method == "mark_queued" and self.status == Status.IN_PROGRESS)
            self.status = MOVES[method]
            if is_anew:
                self.attempt += 1
                self.is_asked = False
            self.log.append(("status", self.status, words))
        self.bound[number] = self.attempt


class Machine(RuleBasedStateMachine):
    """One job, objects that write it, one connection with transactions and another without."""

    told: ClassVar[list[Any]] = []

    @initialize()
    def begin(self) -> None:
        with contextlib.suppress(ProcessingJob.DoesNotExist):
            ProcessingJob.objects.get(pk="job-1").delete()
        self.beside = ProcessingJobLifecycle.create()
        del self.told[:]
        self.objects = [ProcessingJobLifecycle.create("job-1")]
        self.truth = Truth(bound=[1])
        self.open: list[tuple[Any, Truth]] = []  # blocks, and what was true when they began
        self.count = 0

    def teardown(self) -> None:
        while getattr(self, "open", None):
            self.leave(undo=True)

    @property
    def is_within(self) -> bool:
        return bool(self.open)

    # Objects

    @precondition(lambda self: len(self.objects) < 5)
    @rule(kind=st.sampled_from(["id", "job", "pickled"]), data=st.data())
    def make(self, kind: str, data: Any) -> None:
        bound: int | None = None
        if kind == "id":
            made = ProcessingJobLifecycle("job-1")
        elif kind == "job":
            made, bound = ProcessingJobLifecycle(ProcessingJob.objects.get(pk="job-1")), self.truth.attempt
        else:
            number = data.draw(st.integers(0, len(self.objects) - 1))
            if self.is_within:
                return  # what a transaction has not committed does not travel
            made, bound = pickle.loads(pickle.dumps(self.objects[number])), self.truth.bound[number]
        self.objects.append(made)
        self.truth.bound.append(bound)

    # Changes

    @rule(number=st.integers(0, 4), method=st.sampled_from(METHODS), fault=st.sampled_from(["", "", "before", "after"]))
    def change(self, number: int, method: str, fault: str) -> None:
        self.count += 1
        number %= len(self.objects)
        words = f"change {self.count}"
        expected = self.truth.expected(number, method)
        is_cut = bool(fault) and not self.is_within and not expected and connection.vendor == "postgresql"
        is_cut &= not (method == "request_cancel" and self.truth.is_asked)
        with cut(fault, word="INSERT") if is_cut else contextlib.nullcontext():
            self.call(number, method, words, expected)
        if expected is None:
            self.truth.change(number, method, words)

    def call(self, number: int, method: str, words: str, expected: type[Exception] | None) -> None:
        lifecycle = self.objects[number]
        arguments: dict[str, Any] = {"message": words}
        if method == "log":
            arguments = {"text": words}
        with pytest.raises(expected) if expected else contextlib.nullcontext():
            getattr(lifecycle, method)(**arguments)

    @rule(number=st.integers(0, 4), fault=st.sampled_from(["", "", "before", "after", "at commit", "after commit"]))
    def change_together(self, number: int, fault: str) -> None:
        """Two equal lines and a report of the job, and a line of another; handed in twice."""
        self.count += 1
        number %= len(self.objects)
        line, message = f"line {self.count}", f"report {self.count}"
        expected = self.truth.expected(number, "mark_progress")
        is_cut = bool(fault) and not self.is_within and connection.vendor == "postgresql"
        decisions = [log_decision(line), progress_decision(message=message), log_decision(line)]
        batch = [Pending(self.objects[number], decisions), Pending(self.beside, [log_decision(line)])]
        with cut(fault, word="" if "commit" in fault else "INSERT") if is_cut else contextlib.nullcontext():
            answers = write_together(batch)
        if not self.is_within:
            assert [type(answer) for answer in write_together(batch)] == [type(answer) for answer in answers]
        assert [type(answer) for answer in answers] == [expected or type(None), type(None)]
        if expected is None:
            for method, words in ("log", line), ("mark_progress", message), ("log", line):
                self.truth.change(number, method, words)

    @precondition(lambda self: not self.is_within)
    @rule(number=st.integers(0, 4), method=st.sampled_from(METHODS))
    def change_on_another_connection(self, number: int, method: str) -> None:
        self.count += 1
        number %= len(self.objects)
        words = f"change {self.count}"
        expected = self.truth.expected(number, method)
        in_thread(lambda: self.call(number, method, words, expected))
        if expected is None:
            self.truth.change(number, method, words)

    @rule(number=st.integers(0, 4))
    def look(self, number: int) -> None:
        """An object shows what it last read or wrote; never what was rolled back."""
        number %= len(self.objects)
        job = self.objects[number].job
        assert job.seq <= len(self.truth.log)
        entries = [entry for entry in self.truth.log[: job.seq] if entry[0] != "log"]
        assert (job.status, job.message) == entries[-1][1:]
        if self.truth.bound[number] is None:
            self.truth.bound[number] = self.truth.attempt

    @precondition(lambda self: not self.is_within)
    @rule(name=st.sampled_from("abc"), is_public=st.booleans())
    def save(self, name: str, is_public: bool) -> None:
        """Save what was read some time ago."""
        stale = copy.copy(self.objects[0].job)
        stale.name, stale.public, stale.seq, stale.status = name, is_public, 1, "pending"
        stale.save()

    @precondition(lambda self: not self.is_within)
    @rule(back=st.integers(1, 3))
    def set_back(self, back: int) -> None:
        """Set the row's position back, past all that is there to prevent it."""
        seq = max(1, len(self.truth.log) - back)
        ProcessingJob.objects.filter(pk="job-1").update(seq=seq)
        self.count += 1
        words = f"change {self.count}"
        ProcessingJobLifecycle("job-1").log(words)
        self.truth.log.append(("log", self.truth.status, words))

    # Transactions

    @precondition(lambda self: len(self.open) < 3)
    @rule()
    def enter(self) -> None:
        block = transaction.atomic()
        block.__enter__()
        self.open.append((block, copy.deepcopy(self.truth)))

    @precondition(lambda self: self.is_within)
    @rule(undo=st.booleans())
    def leave(self, undo: bool) -> None:
        block, before = self.open.pop()
        if undo:
            block.__exit__(Undo, Undo(), None)
            self.truth = before
            del self.objects[len(before.bound) :]  # made of what never was
        else:
            block.__exit__(None, None, None)

    # What holds

    @invariant()
    def the_log_is_the_truth(self) -> None:
        if not hasattr(self, "truth"):
            return
        job = ProcessingJob.objects.get(pk="job-1")
        events = list(JobEvent.objects.filter(job_id="job-1").order_by("seq"))
        assert [event.seq for event in events] == list(range(1, len(self.truth.log) + 1))
        assert [(event.kind, event.status, event.message) for event in events] == self.truth.log
        assert (job.status, job.attempt, job.seq) == (self.truth.status, self.truth.attempt, len(events))
        if not self.is_within:
            assert [event.seq for event in self.told] == [event.seq for event in events]
            assert [event.message for event in self.told] == [event.message for event in events]


def check(examples: int, steps: int) -> None:
    def receive(event: Any, **_: Any) -> None:
        if event.job_id == "job-1":
            Machine.told.append(event)

    job_event_committed.connect(receive)
    try:
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                print_blob=True,
            ),
        )
    finally:
        job_event_committed.disconnect(receive)


def test_log__holds_what_was_confirmed() -> None:
    check(examples=20, steps=25)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_log__holds_what_was_confirmed_in_ten_thousand_steps() -> None:
    check(examples=300, steps=40)
