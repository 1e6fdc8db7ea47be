"""What docs/reporting.md shows runs, and works as it says."""

import asyncio
import importlib
import logging
import logging.config
from pathlib import Path
from typing import Any

import pytest

from jobs.models import JobEvent
from jobs.reporting import Job
from tests.documents import FENCE, PAGES, section
from tests.test_readme import run

PAGE = "docs/reporting.md"

pytestmark = pytest.mark.django_db(transaction=True)


def snippet(heading: str, words: str = "") -> str:
    (code,) = (code for _, code in FENCE.findall(section(PAGE, heading)) if words in code)
    assert isinstance(code, str)
    return code


@pytest.fixture
def job() -> Job:
    return Job.create("import-march")


@pytest.fixture
def converted() -> list[Any]:
    return []


def is_completed(job: Job, **metadata: Any) -> bool:
    stored = Job(job.job_id).job
    return stored.status == "completed" and metadata.items() <= stored.metadata.items()


@pytest.mark.parametrize(("heading", "unit"), [("Two lines", "rows"), ("tqdm", "items"), ("Rich", "rows")])
def test_loop__runs(job: Job, converted: list[Any], heading: str, unit: str) -> None:
    run(snippet(heading), rows=["a", "b"], convert=converted.append)
    assert converted == ["a", "b"]
    assert is_completed(job, current=2, total=2, unit=unit)


def test_block__runs(job: Job, converted: list[Any]) -> None:
    run(snippet("Stages, messages, a result", "stage="), job=job, files=["a", "b"], convert=converted.append)
    assert is_completed(job, current=2, stage="Clean up", unit="files")
    assert (job.job.result, job.job.message) == ({"converted": 2}, "Converted 2 files")


def test_block__knows_how_its_loop_was_left(job: Job) -> None:
    looked_at: list[str] = []

    def is_found(row: str) -> bool:
        looked_at.append(row)
        return row == "b"

    run(snippet("Stages, messages, a result", "break"), job=job, rows=["a", "b", "c"], is_found=is_found)
    assert looked_at == ["a", "b"]
    assert is_completed(job, current=1)


def test_function__runs(job: Job, converted: list[Any]) -> None:
    run(snippet("A function"), rows=["a", "b"], convert=converted.append)
    assert converted == ["a", "b"]
    assert is_completed(job, current=2)
    assert Job("import-march").job.result == {"rows": 2}


def lines() -> list[str]:
    return list(JobEvent.objects.filter(kind="log").order_by("seq").values_list("message", flat=True))


def test_deep_down__runs(job: Job) -> None:
    download: Any = run(snippet("Deep down"))["download"]
    download("a.txt")
    with job.report():
        download("b.txt")
    assert lines() == ["Downloading b.txt"]


def test_log_lines__run(job: Job) -> None:
    config: Any = run(snippet("Log lines"))["LOGGING"]
    assert config["root"]["handlers"] == ["job"]
    handler = logging.config.DictConfigurator(config).configure_handler({**config["handlers"]["job"]})  # type: ignore[attr-defined]
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(config["root"]["level"])
    try:
        with job.report():
            logging.getLogger("rows").info("took row %d", 17)
            logging.getLogger("rows").debug("looked at it")
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
    assert lines() == ["took row 17"]


def test_output__runs(job: Job) -> None:
    run(snippet("Output"), job=job, answer=["Once upon", "a time"])
    parts = JobEvent.objects.filter(kind="output").order_by("seq").values_list("message", flat=True)
    assert "".join(parts) == "Once upon\na time\n"


def test_threads__run(job: Job, converted: list[Any]) -> None:
    run(snippet("Threads"), job=job, files=list(range(50)), convert=converted.append)
    assert sorted(converted) == list(range(50))
    assert is_completed(job, current=50)


def test_processes__run(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function in a module, as other processes have to find it, and the rest here."""
    functions, begin, block = snippet("Processes").partition("with (")
    (tmp_path / "converting.py").write_text(f"convert = abs\n{functions}")
    monkeypatch.syspath_prepend(tmp_path)
    run(begin + block, **vars(importlib.import_module("converting")), job=job, files=[-1, 2, 3])
    assert is_completed(job, current=3, total=3)


def test_asynchronous__runs(job: Job, converted: list[Any]) -> None:
    async def fetch(url: str) -> str:
        await asyncio.sleep(0)
        return f"page of {url}"

    async def convert(row: str) -> None:
        converted.append(row)

    pages: list[str] = []
    names: dict[str, Any] = run(snippet("Asynchronous code"), fetch=fetch, save=pages.append, convert=convert)
    asyncio.run(names["fetch_all"](job, ["a", "b"]))
    assert sorted(pages) == ["page of a", "page of b"]
    assert is_completed(job, current=2, unit="pages")
    asyncio.run(names["import_all"](Job.create("other"), ["x", "y"]))
    assert converted == ["x", "y"]
    assert is_completed(Job("other"), current=2, unit="rows")


def test_headings__are_those_that_are_run() -> None:
    shown = [section_of.splitlines()[0] for section_of in PAGES[PAGE].split("\n## ")[1:] if "```python" in section_of]
    assert shown == [
        *("Two lines", "Stages, messages, a result", "A function", "Deep down", "Log lines"),
        *("Output", "Threads", "Processes", "Asynchronous code", "tqdm", "Rich"),
    ]
