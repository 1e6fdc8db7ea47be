"""What a job puts out at length, through its reporter."""

import contextlib
from typing import Any

import pytest

from jobs import validation
from jobs.exceptions import InvalidValue, JobCancelled
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent
from jobs.reporting import Reporter, notes, report_thread
from jobs.reporting.report_thread import ReportThread
from tests.jobs.reporting.reported import WAIT_SECONDS, told

pytestmark = pytest.mark.django_db(transaction=True)


def parts() -> list[tuple[str, str]]:
    events = JobEvent.objects.filter(kind="output").order_by("seq")
    return [(event.metadata["name"], event.message) for event in events]


def test_output__comes_in_few_parts_soon(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(report_thread, "report_seconds", lambda: 3600.0)
    with Reporter(job) as report, told(kind="output") as shown:
        answer = report.output("answer")
        for number in range(1_000):
            answer.write(f"{number} ")
        assert shown.wait(WAIT_SECONDS)
        print("and more", file=report.output(), end="")
    assert "".join(text for name, text in parts() if name == "answer") == "".join(f"{n} " for n in range(1_000))
    assert parts()[-1] == ("output", "and more")
    assert len(parts()) < 50


def test_output__is_in_order_with_the_lines_and_stages(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(ReportThread, "_write", lambda self, is_tick: None)  # all is taken at the end
    with Reporter(job) as report, contextlib.redirect_stdout(report.output("stdout")):
        print("one")
        print("two")
        report.log("a line")
        print("three")
        report.report(stage="s")
        print("four")
    kinds = JobEvent.objects.exclude(kind__in=["status", "tick"]).order_by("seq").values_list("kind", "message")
    assert list(kinds) == [
        ("output", "one\ntwo\n"),
        ("log", "a line"),
        ("output", "three\n"),
        ("stage", ""),
        ("output", "four\n"),
    ]


def test_output__of_any_length_and_any_characters(job: ProcessingJobLifecycle) -> None:
    text = "x" * (validation.MAX_OUTPUT + 10)
    with Reporter(job) as report:
        assert report.output().write(text) == len(text)
        assert report.output("b").write("a\x00\ud800") == 3
        assert report.output().write("") == 0
        with pytest.raises(TypeError, match="strings"):
            report.output().write(b"bytes")  # type: ignore[arg-type]
    assert "".join(part for name, part in parts() if name == "output") == text
    assert parts()[-1] == ("b", "a�?")


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, 7])
def test_output__of_a_name_that_is_none(job: ProcessingJobLifecycle, name: Any) -> None:
    with Reporter(job) as report, pytest.raises(InvalidValue, match="letters, digits"):
        report.output(name)


def test_output__says_how_much_is_left_out(job: ProcessingJobLifecycle, monkeypatch: Any) -> None:
    monkeypatch.setattr(notes, "MAX_WAITING", 1_000)
    monkeypatch.setattr(ReportThread, "_write", lambda self, is_tick: None)  # nobody takes it
    with Reporter(job) as report:
        for _ in range(10):
            report.output("a").write("x" * 500)
    assert parts() == [("a", "x" * 1_000 + "[4,000 characters are left out here]")]


def test_output__ends_with_a_cancellation(job: ProcessingJobLifecycle) -> None:
    with Reporter(job) as report:
        report._run.stop(JobCancelled("job-1"))
        report.output().write("no more")
        raise AssertionError("it goes on")
    assert ProcessingJobLifecycle("job-1").job.status == "cancelled"
