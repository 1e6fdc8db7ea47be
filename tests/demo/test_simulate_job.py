import io
import signal
import subprocess
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from demo.management.commands.simulate_job import pace
from demo.simulation import KILLED, Plan
from jobs.models import JobEvent, ProcessingJob
from tests.installation import ROOT, Site

in_threads = pytest.mark.django_db(transaction=True)


def simulate(*arguments: str) -> list[str]:
    output = io.StringIO()
    call_command("simulate_job", *arguments, stdout=output)
    return output.getvalue().split()


@in_threads
def test_simulate_job__makes_a_public_job_and_completes_it() -> None:
    (job_id,) = simulate("--rate=0", "--steps=10", "--stages=5", "--name=Try")
    job = ProcessingJob.objects.get(pk=job_id)
    assert (job.status, job.progress, job.public, job.name) == ("completed", 100.0, True, "Try")
    assert job.kind == "simulate_job"
    assert JobEvent.objects.filter(job=job, kind="stage").count() == 5
    assert JobEvent.objects.filter(job=job).count() == 1 + 1 + 1 + 10 + 1  # made, queued, started, steps, completed


@in_threads
def test_simulate_job__several_run_at_once() -> None:
    assert simulate("--rate=0", "--jobs=3", "--job-id=load", "--steps=5") == ["load-1", "load-2", "load-3"]
    assert set(ProcessingJob.objects.values_list("status", flat=True)) == {"completed"}


@in_threads
def test_simulate_job__fails_at_a_percentage() -> None:
    simulate("--rate=0", "--job-id=bad", "--fail-at=40")
    job = ProcessingJob.objects.get(pk="bad")
    assert (job.status, job.progress, job.message) == ("failed", 40.0, "Simulated failure at 40 %")


def test_simulate_job__dies_without_a_word(sqlite_site: Site) -> None:
    printed = sqlite_site.manage("simulate_job", "--rate=0", "--job-id=dead", "--die-at=50", status=KILLED)
    assert printed.split() == ["dead"]
    job = sqlite_site.job("dead")
    assert (job["status"], job["progress"]) == ("in_progress", 50.0)


def test_simulate_job__interrupt_cancels_the_jobs(sqlite_site: Site) -> None:
    command = [sys.executable, "manage.py", "simulate_job", "--duration=60", "--job-id=long"]
    with subprocess.Popen(command, cwd=ROOT, env=sqlite_site.env, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "long\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130
        finally:
            process.kill()
    assert sqlite_site.job("long")["status"] == "cancelled"


@in_threads
def test_simulate_job__taken_id_is_said() -> None:
    simulate("--rate=0", "--job-id=one", "--steps=4")
    with pytest.raises(CommandError, match="exists already"):
        simulate("--job-id=one")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--jobs=0"], "--jobs must be"),
        (["--jobs=1000"], "--jobs must be"),
        (["--steps=0"], "--steps must be"),
        (["--stages=0"], "--stages must be"),
        (["--steps=3", "--stages=4"], "--stages must be"),
        (["--duration=-1"], "--duration must be"),
        (["--rate=-1"], "--rate must be"),
        (["--rate=nan"], "--rate must be"),
        (["--rate=5", "--duration=5", "--steps=5"], "Give two of"),
        (["--rate=0", "--duration=5"], "Give two of"),
        (["--fail-at=101"], "--fail-at is a percentage"),
        (["--die-at=-1"], "--die-at is a percentage"),
    ],
)
def test_simulate_job__bad_option_is_said(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        simulate(*arguments)


@pytest.mark.django_db
def test_simulate_job__bad_job_id_is_said() -> None:
    with pytest.raises(CommandError, match="is no job id"):
        simulate("--job-id=a/b")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((None, None, None), (100, 0.1)),
        ((50, None, None), (50, 0.2)),
        ((None, 5.0, None), (100, 0.05)),
        ((None, 0.0, None), (100, 0.0)),
        ((None, 5.0, 4.0), (20, 0.25)),
        ((8, None, 4.0), (8, 0.25)),
        ((None, None, 0.0), (100, 0.0)),
        ((7, None, 0.0), (7, 0.0)),
    ],
)
def test_pace__two_give_the_third(given: tuple[Any, Any, Any], expected: tuple[int, float]) -> None:
    assert pace(*given) == expected


def test_plan__divides_the_steps_into_stages() -> None:
    plan = Plan(steps=10, stages=4)
    assert [plan.stage(step)[-1] for step in range(1, 11)] == list("1112233344")
