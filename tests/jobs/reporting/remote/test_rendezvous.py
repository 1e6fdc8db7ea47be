"""Where processes of a job meet: what is left behind there, and what it is called."""

import os
from pathlib import Path
from typing import Any

from jobs.reporting import rendezvous


def test_directories__that_were_left_behind_are_removed(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(rendezvous, "_parent", lambda: str(tmp_path))
    monkeypatch.setattr(rendezvous, "_has_looked", True)
    made = [rendezvous.listening_socket(1) for _ in range(3)]
    left, young, used = (Path(path).parent for _, path in made)
    empty, foreign = tmp_path / f"{rendezvous.PREFIX}empty", tmp_path / "another"
    empty.mkdir()
    foreign.mkdir()
    target = tmp_path / f"{rendezvous.PREFIX}link"
    target.symlink_to(foreign)
    for connection, _ in made[:2]:
        connection.close()
    for each in (left, used, empty, foreign):
        os.utime(each, (0, 0))
    monkeypatch.setattr(rendezvous, "_has_looked", False)
    last, path = rendezvous.listening_socket(1)
    kept = {young, used, foreign, target, Path(path).parent}
    assert set(tmp_path.iterdir()) == kept
    for connection in (last, made[2][0]):
        connection.close()


def test_address__is_short_whatever_the_directory_for_temporary_files(monkeypatch: Any) -> None:
    monkeypatch.setattr(rendezvous.tempfile, "gettempdir", lambda: "/" + "x" * 100)
    listening_socket, path = rendezvous.listening_socket(1)
    assert path.startswith("/tmp/")
    listening_socket.close()
    rendezvous.remove(path)
