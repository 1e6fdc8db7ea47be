"""Several processes that report to the block of one."""

import asyncio
import contextlib
import multiprocessing
import os
import pickle
import re
import signal
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from jobs.exceptions import InvalidTransition, JobCancelled
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.reporting import Reporter, link, listener, others, rendezvous
from jobs.reporting.notes import Notes
from jobs.reporting.remote import RemoteReporter
from tests.jobs.reporting.remote_work import (
    count,
    count_and_die,
    count_while_the_parent_lives_and_longer,
    log_deep_down,
    loop,
    say,
    until_stopped,
)
from tests.jobs.reporting.reported import WAIT_SECONDS, events, stored, told

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),  # also what is asked of us works
]

# A fork of this process begins at once, and does nothing with what it has of the database.
Pool = partial(ProcessPoolExecutor, mp_context=get_context("fork"))


@pytest.fixture(autouse=True)
def _ends_by_sigterm() -> Iterator[None]:
    """A command that ran in this process may have left a handler, and a pool's processes inherit it."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def process(work: Any, *arguments: Any) -> Iterator[Any]:
    """Run a function in a forked process, which has its arguments as they are here."""
    begun = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    begun.start()
    try:
        yield begun
    finally:
        begun.join(WAIT_SECONDS)
        assert begun.exitcode is not None
        begun.close()


def until(condition: Any) -> None:
    give_up_at = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < give_up_at
        time.sleep(0.005)


def lines(kind: str = "log") -> list[str]:
    return [event.message for event in events(kind)]


@pytest.mark.parametrize(("method", "processes"), [("fork", 4), ("forkserver", 2), ("spawn", 2)])
def test_pool__counts_exactly(job: ProcessingJobLifecycle, method: str, processes: int) -> None:
    with (
        Reporter(job, total=40_000) as report,
        ProcessPoolExecutor(processes, mp_context=get_context(method)) as pool,
    ):
        done = [pool.submit(count, report, 5_000) for _ in range(4)] + [
            pool.submit(loop, report, 5_000) for _ in range(4)
        ]
        for future in done:
            future.result()
        until(lambda: report.current == 40_000)  # before it is written
    assert (stored().status, stored().metadata["current"]) == ("completed", 40_000)


def test_pool__whose_processes_are_terminated_once_their_results_are_there(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report, get_context("fork").Pool(4) as pool:
        pool.starmap(count, [(report, 1_000)] * 8, chunksize=1)
        pool.starmap(say, [(report, f"p{number}", 20) for number in range(8)], chunksize=1)
    assert stored().metadata["current"] == 8_000
    assert len(lines()) == 160
    for number in range(8):
        assert [line for line in lines() if line.startswith(f"p{number} ")] == [f"p{number} {n}" for n in range(20)]
        written = "".join(event.message for event in events("output") if event.metadata["name"] == f"p{number}")
        assert written == "".join(f"{n} " + "x" * 1000 + "\n" for n in range(20))


def test_report__shows_while_the_work_goes_on(job: ProcessingJobLifecycle, tmp_path: Path) -> None:
    with Reporter(job) as report, told(current=5) as shown, Pool(1) as pool:
        pool.submit(count, report, 5).result()
        assert shown.wait(WAIT_SECONDS)


def test_count__is_that_of_the_stage_that_is_under_way(job: ProcessingJobLifecycle) -> None:
    with Reporter(job, plan={"a": 1, "b": 1, "c": 2}) as report, Pool(2) as pool:
        futures = []
        for label in ("a", "b", "c"):
            report.stage(label)
            futures += [pool.submit(count, report, 3_000) for _ in range(2)]
            until(lambda: report.current > 0)
            report.advance(10)
        for future in futures:
            future.result()
    stage, counted = "", {"": 0}
    for event in events("stage", "tick"):
        stage = event.metadata.get("stage", stage)
        counted[stage] = event.metadata.get("current") or 0
    assert sum(counted.values()) == 18_030
    assert min(counted[label] for label in "abc") > 10


def test_current_reporter__is_the_remote_one_in_its_block(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report, Pool(1) as pool:
        pool.submit(log_deep_down, report).result()
    assert lines() == ["from deep down"]
    assert (stored().status, stored().metadata["current"]) == ("completed", 3)


def test_cancellation__reaches_all_within_a_second(job: ProcessingJobLifecycle, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}" for number in range(3)]
    with Reporter(job) as report, Pool(3) as pool:
        futures = [pool.submit(until_stopped, report, str(path)) for path in paths]
        until(lambda: all(path.with_suffix(".begun").exists() for path in paths))
        asked_at = time.time()
        ProcessingJobLifecycle("job-1").request_cancel()
        for future in futures:
            future.result()
    assert stored().status == "cancelled"
    for path in paths:
        at, name = path.read_text().split()[:2]
        assert (name, float(at) - asked_at < 2.0) == ("JobCancelled", True)  # the machine has other things to do


def test_process__that_is_killed_harms_no_other(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        handle = report.remote()
        with process(count_and_die, handle, 1_234) as killed, process(count, handle, 1_000) as other:
            pass
        assert killed is not other
        with process(count, handle, 100):
            pass
    assert (stored().status, stored().metadata["current"]) == ("completed", 2_334)
    assert lines() == ["my last words"]


def test_block__that_is_left_by_an_exception_stops_the_others(job: ProcessingJobLifecycle, tmp_path: Path) -> None:
    path = tmp_path / "stopped"

    def work(stack: contextlib.ExitStack) -> None:
        with Reporter(job) as report:
            stack.enter_context(process(until_stopped, report.remote(), str(path)))
            until(path.with_suffix(".begun").exists)
            raise KeyError("missing")

    with contextlib.ExitStack() as stack, pytest.raises(KeyError):
        work(stack)
    assert stored().status == "failed"
    assert stored().metadata["current"] > 0
    assert "InvalidTransition Job 'job-1' is failed" in path.read_text()


def test_block__that_is_left_with_a_process_behind_has_what_that_had_reported(
    job: ProcessingJobLifecycle, tmp_path: Path
) -> None:
    path = tmp_path / "stopped"
    with contextlib.ExitStack() as stack:
        with Reporter(job) as report:
            stack.enter_context(process(until_stopped, report.remote(), str(path)))
            until(path.with_suffix(".begun").exists)
            until(lambda: report.current >= 3)
        counted = stored().metadata["current"]
    assert counted >= 3
    assert stored().metadata["current"] == counted
    assert "InvalidTransition Job 'job-1' is completed" in path.read_text()


def test_process__that_is_stopped_delays_the_end_by_nothing(job: ProcessingJobLifecycle, tmp_path: Path) -> None:
    path = tmp_path / "stopped"
    with contextlib.ExitStack() as stack:
        with Reporter(job) as report:
            stopped = stack.enter_context(process(until_stopped, report.remote(), str(path)))
            until(path.with_suffix(".begun").exists)
            os.kill(stopped.pid, signal.SIGSTOP)
            stack.callback(os.kill, stopped.pid, signal.SIGCONT)
            began = time.monotonic()
        assert time.monotonic() - began < WAIT_SECONDS / 2


async def test_async_block__counts_as_well(job: ProcessingJobLifecycle) -> None:
    with Pool(2) as pool:
        async with Reporter(job, total=4_000) as report:
            event_loop = asyncio.get_running_loop()
            await asyncio.gather(*(event_loop.run_in_executor(pool, count, report, 1_000) for _ in range(4)))
    stored_job = await asyncio.to_thread(stored)
    assert (stored_job.status, stored_job.metadata["current"]) == ("completed", 4_000)


def forked(report: Any) -> None:
    """Report by what was inherited."""
    report.advance(5)
    report.log("from the fork")
    report.flush()
    report.report(stage="not here")
    for _ in report.track(range(10)):
        report.advance(-1)
    with report.remote():
        report.output().write("and more")
    assert not report.cancel_requested


def test_fork__forwards_what_the_inherited_reporter_is_told(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report.remote()
        report.advance(7)
        with process(forked, report), process(forked, report):
            report.advance(1)
    assert (stored().status, stored().metadata["current"]) == ("completed", 18)
    assert "stage" not in stored().metadata
    assert lines() == ["from the fork"] * 2
    assert "".join(lines("output")) == "and more" * 2


def test_fork__that_nobody_listens_to_warns_once(job: ProcessingJobLifecycle, tmp_path: Path) -> None:
    path = tmp_path / "warned"

    def work() -> None:
        warned = []
        link.logger.warning = lambda words, *arguments: warned.append(words % arguments)  # type: ignore[method-assign]
        report.advance()
        report.log("nobody hears this")
        path.write_text("\n".join(warned))

    with Reporter(job) as report, process(work):
        pass
    assert re.fullmatch(r".*'job-1' is dropped: nobody listens.*`remote`.*", path.read_text())
    assert (stored().status, stored().metadata.get("current"), lines()) == ("completed", None, [])


def test_reporter__that_is_not_open_can_not_be_sent(job: ProcessingJobLifecycle) -> None:
    report = Reporter(job)
    for _ in range(2):
        with pytest.raises(TypeError, match="in its block only"):
            pickle.dumps(report)
        with contextlib.suppress(InvalidTransition), report:
            assert pickle.dumps(report) == pickle.dumps(report.remote())


def test_reporter__where_nothing_can_listen(job: ProcessingJobLifecycle, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(backlog: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(listener, "listening_socket", refuses)
    warned: list[str] = []
    for module in (link, others):
        monkeypatch.setattr(module.logger, "warning", lambda text, *arguments: warned.append(text % arguments))
    with Reporter(job) as report:
        remote = pickle.loads(pickle.dumps(report))
        for _ in range(2):
            remote.advance()
        report.advance()
    assert (stored().status, stored().metadata["current"]) == ("completed", 1)
    assert ["No space left" in warned[0], "is dropped" in warned[1], len(warned)] == [True, True, 2]


def listen(address: Any, path: str) -> None:
    """Listen as a block does, and wait for another process."""
    listening = listener.Listener(Notes("job-1"))
    address.send(listening.address)
    remote = RemoteReporter(listening.address, listening.token, "job-1")
    with process(count_while_the_parent_lives_and_longer, remote, path):
        pass


def test_parent__that_is_killed_harms_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tempfile.mkdtemp(dir="/tmp")  # whose path is short enough for a socket
    monkeypatch.setattr(rendezvous, "_parent", lambda: folder)
    path = tmp_path / "child"
    receiver, sender = multiprocessing.Pipe()
    with process(listen, sender, str(path)) as parent:
        assert receiver.poll(WAIT_SECONDS)
        address = receiver.recv()
        until(path.with_suffix(".begun").exists)
        parent.kill()
    until(path.with_suffix(".done").exists)
    assert path.with_suffix(".log").read_text().count("is dropped") == 1
    assert os.path.exists(address)
    monkeypatch.setattr(rendezvous, "_has_looked", False)
    monkeypatch.setattr(rendezvous, "OLD_SECONDS", 0.0)
    listener.Listener(Notes("job-2")).close(JobCancelled("job-2"))
    assert not os.listdir(folder)
    os.rmdir(folder)


def test_cancelled__is_said_by_the_same_exception_elsewhere(job: ProcessingJobLifecycle, tmp_path: Path) -> None:
    with Reporter(job) as report, Pool(1) as pool:
        future = pool.submit(until_stopped, report, str(tmp_path / "stopped"))
        ProcessingJobLifecycle("job-1").request_cancel()
        error = future.exception(WAIT_SECONDS)
        assert isinstance(error, JobCancelled)
        assert error.job_id == "job-1"
        raise error
    assert stored().status == "cancelled"
