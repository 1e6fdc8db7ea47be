"""The digest of a folder, reported as it is computed."""

import errno
import hashlib
import os
import stat
import time
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from jobs.reporting import Reporter
from jobs.validation import MAX_STAGE

CHUNK = 1 << 20  # bytes read at once
MAX_LINES = 100  # log lines about skipped files; a folder may hold millions
MAX_WORDS = 500  # characters of a path that are shown


@dataclass(frozen=True, slots=True)
class File:
    """A file to hash: its path below the folder, its size in bytes when it was listed, its stage."""

    path: str
    size: int
    stage: str


@dataclass(slots=True)
class Result:
    """The result: the number of files hashed, their bytes, how many were skipped, and one digest over all."""

    files: int = 0
    bytes: int = 0
    skipped: int = 0
    sha256: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the result as the job stores it."""
        return asdict(self)

    def summary(self) -> str:
        """Return the result in words."""
        skipped = f", {self.skipped:,} skipped" if self.skipped else ""
        return f"{self.files:,} file{'s' * (self.files != 1)}, {self.bytes:,} bytes{skipped}"


def words(path: str) -> str:
    """Return a path as text that can be stored and shown, whatever bytes it consists of."""
    shown = os.fsencode(path).decode(errors="replace").replace("\x00", "�")
    return shown if len(shown) <= MAX_WORDS else "…" + shown[-MAX_WORDS + 1 :]


class FolderHasher:
    """One pass over a folder.

    Args:
        folder: The folder, or a symbolic link to one; links below it are not followed.
        report: The reporter of the job.
        depth: How many levels of folders count as stages.
        max_rate: Megabytes a second at most; None for no limit.

    """

    def __init__(self, folder: str, report: Reporter, depth: int = 1, max_rate: float | None = None) -> None:
        self.folder = os.path.abspath(folder)
        self.report = report
        self.depth = depth
        self.bytes_per_second = max_rate * 1e6 if max_rate else float("inf")
        self.chunk = int(max(1, min(CHUNK, self.bytes_per_second / 10)))
        self.result = Result()
        self.skips: Counter[str] = Counter()  # by the level that they are logged at
        self.digests: list[tuple[bytes, str]] = []
        self.stage = ""
        self.started = 0.0

    def run(self) -> Result:
        """Hash all files, and return the result.

        Raises:
            OSError: The folder itself is missing or can't be read.
            jobs.exceptions.JobCancelled: Somebody asked to cancel the job.

        """
        files = self.list_files()
        # By stage, so that each stage is entered once.
        files.sort(key=lambda file: (file.stage, file.path))
        self.report.report(current=0, total=sum(file.size for file in files))
        self.started = time.monotonic()
        for file in files:
            self.hash_file(file)
        for level, count in self.skips.items():
            if count > MAX_LINES:
                self.report.lifecycle.log(f"… and {count - MAX_LINES:,} more skipped", level=level)
        self.result.sha256 = self.digest()
        return self.result

    def digest(self) -> str:
        """Return the digest over all files: that of ``sha256sum``'s output, sorted by the bytes of the paths."""
        whole = hashlib.sha256()
        for path, digest in sorted(self.digests):
            whole.update(digest.encode() + b"  " + path + b"\n")
        return whole.hexdigest()

    def list_files(self) -> list[File]:
        """Return the regular files below the folder."""
        files: list[File] = []
        self.report.report(stage="listing files", message="Listing files")
        folders = [""]
        while folders:
            below = folders.pop()
            try:
                self._list_folder(below, files, folders)
            except OSError as error:
                if not below:
                    raise
                self.skip(below, error.strerror or str(error))
            self.report.report(message=f"{len(files):,} files found")
        return files

    def _list_folder(self, below: str, files: list[File], folders: list[str]) -> None:
        stage = words("/".join(below.split("/")[: self.depth]) or ".")[-MAX_STAGE:]
        with os.scandir(os.path.join(self.folder, below)) as entries:
            for entry in entries:
                path = f"{below}/{entry.name}" if below else entry.name
                try:
                    if entry.is_symlink():
                        self.skip(path, "symbolic link, not followed", level="debug")
                    elif entry.is_dir(follow_symlinks=False):
                        folders.append(path)
                    elif entry.is_file(follow_symlinks=False):
                        files.append(File(path, entry.stat(follow_symlinks=False).st_size, stage))
                    else:
                        self.skip(path, "neither file nor folder")
                except OSError as error:  # most likely deleted meanwhile
                    self.skip(path, error.strerror or str(error))

    def hash_file(self, file: File) -> None:
        """Hash one file, or skip it and log why; either way its size counts as done."""
        before = self.report.current
        self.report.report(
            stage=file.stage if file.stage != self.stage else None,
            message=words(file.path.removeprefix(file.stage + "/")),
        )
        self.stage = file.stage
        try:
            digest, size = self._read(file)
        except OSError as error:
            self.skip(file.path, error.strerror or str(error))
        else:
            self.digests.append((os.fsencode(file.path), digest))
            self.result.files += 1
            self.result.bytes += size
        self.report.report(current=max(self.report.current, before + file.size))

    def _read(self, file: File) -> tuple[str, int]:
        """Return the digest and the number of bytes of a file."""
        digest, size = hashlib.sha256(), 0
        # Since it was listed, the file may have been replaced by a link, or by a pipe that would block.
        handle = os.open(os.path.join(self.folder, file.path), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with open(handle, "rb", buffering=0) as source:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise OSError(errno.EINVAL, "no longer a regular file")
            while chunk := source.read(self.chunk):
                digest.update(chunk)
                size += len(chunk)
                self.report.advance(len(chunk))
                self.pause()
        return digest.hexdigest(), size

    def pause(self) -> None:
        """Sleep while the reading is ahead of ``max_rate``."""
        ahead = self.report.current / self.bytes_per_second - (time.monotonic() - self.started)
        if ahead > 0.01:  # seconds; shorter sleeps take longer than they say
            time.sleep(ahead)

    def skip(self, path: str, why: str, *, level: str = "warning") -> None:
        """Skip a file; log it, up to `MAX_LINES` times for each level."""
        self.result.skipped += 1
        self.skips[level] += 1
        if self.skips[level] <= MAX_LINES:
            self.report.lifecycle.log(f"skipped {words(path)}: {why}", level=level)
