import hashlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from demo import folder as folder_module
from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.reporting import run
from tests.installation import ROOT, Site

pytestmark = pytest.mark.django_db

EMPTY = hashlib.sha256().hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "folder"
    for path, text in {"a/x": "hi", "a/b/y": "yo", "c/empty": "", "top": "z", "c/[red]": "markup"}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return root


@pytest.fixture
def _every_report(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "report_seconds", lambda: 0.0)


def hash_folder(path: Path, *arguments: str) -> ProcessingJob:
    output = io.StringIO()
    try:
        call_command("hash_folder", str(path), *arguments, stdout=output)
    except SystemExit as ended:
        assert ended.code  # noqa: PT017  (the job says how it ended)
    return ProcessingJob.objects.get(pk=output.getvalue().split()[0])


def log_lines() -> list[str]:
    return list(JobEvent.objects.filter(kind="log").values_list("message", flat=True))


def expected_digest(root: Path) -> str:
    """Compute the digest the slow and plain way."""
    paths = sorted(os.fsencode(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    lines = [
        hashlib.sha256((root / os.fsdecode(path)).read_bytes()).hexdigest().encode() + b"  " + path for path in paths
    ]
    return hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest()


def test_hash_folder__result_is_files_bytes_and_digest(folder: Path) -> None:
    job = hash_folder(folder, "--public")
    assert (job.status, job.kind) == ("completed", "hash_folder")
    assert job.public
    assert job.result == {"files": 5, "bytes": 11, "skipped": 0, "sha256": expected_digest(folder)}
    assert job.message == "5 files, 11 bytes"
    assert (job.metadata["unit"], job.metadata["current"], job.metadata["total"]) == ("bytes", 11, 11)


def test_hash_folder__each_subfolder_is_one_stage(folder: Path) -> None:
    hash_folder(folder)
    stages = [event.metadata["stage"] for event in JobEvent.objects.filter(kind="stage").order_by("seq")]
    assert stages == ["listing files", ".", "a", "c"]


def test_hash_folder__depth_divides_further(folder: Path) -> None:
    hash_folder(folder, "--depth=2")
    stages = [event.metadata["stage"] for event in JobEvent.objects.filter(kind="stage").order_by("seq")]
    assert stages == ["listing files", ".", "a", "a/b", "c"]


def test_hash_folder__skips_what_is_no_file_and_says_so(folder: Path) -> None:
    expected = expected_digest(folder)
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("top")
    (folder / "loop").symlink_to(folder)
    job = hash_folder(folder)
    assert job.result["sha256"] == expected
    assert job.result["skipped"] == 3
    assert sorted(log_lines()) == [
        "skipped link: symbolic link, not followed",
        "skipped loop: symbolic link, not followed",
        "skipped pipe: neither file nor folder",
    ]


def test_hash_folder__name_of_any_bytes_is_hashed_and_shown(folder: Path) -> None:
    (folder / os.fsdecode(b"bad\xff\nname")).write_text("q")
    job = hash_folder(folder)
    assert job.result["sha256"] == expected_digest(folder)
    assert job.status == "completed"


def _vanishes(path: Path) -> None:
    path.unlink()


def _becomes_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _becomes_a_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


@pytest.mark.parametrize("change", [_vanishes, _becomes_a_pipe, _becomes_a_link])
def test_hash_folder__file_that_changes_after_the_listing_is_skipped(
    change: Callable[[Path], None], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = folder_module.FolderHasher.list_files

    def then_change(self: Any) -> Any:
        files = listed(self)
        change(folder / "top")
        return files

    monkeypatch.setattr(folder_module.FolderHasher, "list_files", then_change)
    job = hash_folder(folder)
    assert (job.status, job.result["files"], job.result["skipped"]) == ("completed", 4, 1)
    assert log_lines()[0].startswith("skipped top: ")
    assert job.metadata["current"] == job.metadata["total"]


def test_hash_folder__file_that_grows_is_hashed_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listed = folder_module.FolderHasher.list_files

    def then_grow(self: Any) -> Any:
        files = listed(self)
        (folder / "top").write_text("z" * 1000)
        return files

    monkeypatch.setattr(folder_module.FolderHasher, "list_files", then_grow)
    job = hash_folder(folder)
    assert (job.status, job.result["sha256"]) == ("completed", expected_digest(folder))


def test_hash_folder__unreadable_is_skipped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open  # file modes don't hold for root, whom tests may run as

    def refuse(path: Any, *rest: Any, **options: Any) -> int:
        if str(path).endswith("/top"):
            raise PermissionError(13, "Permission denied")
        return opened(path, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    job = hash_folder(folder)
    assert (job.status, job.result["files"]) == ("completed", 4)
    assert log_lines() == ["skipped top: Permission denied"]


def test_hash_folder__log_of_skipped_files_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_module, "MAX_LINES", 2)
    for number in range(5):
        os.mkfifo(folder / f"pipe{number}")
    job = hash_folder(folder)
    assert len(log_lines()) == 3
    assert log_lines()[-1] == "… and 3 more skipped"
    assert job.result["skipped"] == 5


def test_hash_folder__empty_folder_completes(tmp_path: Path) -> None:
    job = hash_folder(tmp_path)
    assert (job.status, job.progress) == ("completed", 100.0)
    assert job.result == {"files": 0, "bytes": 0, "skipped": 0, "sha256": EMPTY}


@pytest.mark.parametrize(("name", "words"), [("missing", "No such file"), ("file", "Not a directory")])
def test_hash_folder__no_folder_fails_with_words(name: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CommandError, match=words):
        hash_folder(tmp_path / name, "--job-id=job-1")
    job = ProcessingJob.objects.get(pk="job-1")
    assert job.status == "failed"
    assert words in job.message


@pytest.mark.usefixtures("_every_report")
def test_hash_folder__honours_cancellation(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = folder_module.FolderHasher._read

    def cancelled_meanwhile(self: Any, file: Any) -> Any:
        ProcessingJobLifecycle("job-1").request_cancel()
        return read(self, file)

    monkeypatch.setattr(folder_module.FolderHasher, "_read", cancelled_meanwhile)
    assert hash_folder(folder, "--job-id=job-1").status == "cancelled"


def test_hash_folder__runs_a_job_that_waits(folder: Path, make_job: Callable[..., Any]) -> None:
    make_job("job-1", status="queued", name="Mine")
    job = hash_folder(folder, "--job-id=job-1")
    assert (job.status, job.name) == ("completed", "Mine")


def test_hash_folder__leaves_a_finished_job_alone(folder: Path, make_job: Callable[..., Any]) -> None:
    make_job("job-1", status="completed")
    with pytest.raises(CommandError, match="is completed"):
        hash_folder(folder, "--job-id=job-1")


@pytest.mark.parametrize("option", ["--depth=0", "--max-rate=0", "--max-rate=-1", "--max-rate=nan"])
def test_hash_folder__bad_option_is_said(option: str, folder: Path) -> None:
    with pytest.raises(CommandError, match=option.partition("=")[0]):
        hash_folder(folder, option)


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.slow
def test_hash_folder__stopped_worker_cancels_its_job(kind: signal.Signals, folder: Path, sqlite_site: Site) -> None:
    (folder / "large").write_bytes(bytes(1_000_000))
    options = [str(folder), "--job-id=job-1", "--max-rate=0.01"]
    command = [sys.executable, "manage.py", "hash_folder", *options]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=sqlite_site.env, **pipes) as process:  # type: ignore[call-overload]
        while not any(event["metadata"].get("total") for event in sqlite_site.events("job-1")):
            assert process.poll() is None, process.communicate()
        process.send_signal(kind)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert sqlite_site.job("job-1")["message"] == "The worker was stopped"
