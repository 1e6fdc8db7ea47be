"""The bells beside an SQLite file: whose they are, where they are, and which are removed."""

import os
import socket
import stat
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from progress.broker import bells
from progress.broker.bells import SUFFIX, Folder, hung


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "a 100% #1 database?.sqlite3"
    path.touch(0o644)
    return path


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch):
    """The bells of this process look as those of others do."""
    monkeypatch.setattr(bells, "_own", {})


def folder_of(database: Path) -> Path:
    return Path(f"{os.path.realpath(database)}{SUFFIX}")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def rings(database: Path) -> int:
    """Ring all bells; return how many heard it."""
    bells._own.clear()
    with Folder(str(database)) as folder:
        links = [link for name in folder.names() if (link := folder.connect(name)) is not None]
    for link in links:
        link.send(b"!")
        link.close()
    return len(links)


def leave_unheard(database: Path) -> Path:
    """Leave a bell as a server does that was killed."""
    with Folder(str(database), make=True) as folder:
        folder.hang("0123456789abcdef").close()
    return folder_of(database) / "0123456789abcdef"


def test_hung__is_rung_and_taken_away(database):
    with hung(str(database)) as bell:
        assert rings(database) == 1
        assert bell.recv(8) == b"!"
        assert mode(folder_of(database)) == 0o700
        assert [mode(path) for path in folder_of(database).iterdir()] == [0o600]
    assert not list(folder_of(database).iterdir())


def test_hung__has_no_wider_mode_than_the_file_gives_its_group(database):
    database.chmod(0o666)
    before = os.umask(0)
    try:
        with hung(str(database)):
            assert mode(folder_of(database)) == 0o770
            assert [mode(path) for path in folder_of(database).iterdir()] == [0o660]
            assert folder_of(database).stat().st_gid == database.stat().st_gid
        database.chmod(0o640)
        with hung(str(database)):
            assert mode(folder_of(database)) == 0o700, "as the file's, from then on"
    finally:
        os.umask(before)


def test_hung__by_root_is_the_owners_of_the_file(database):
    if os.geteuid() == 0:
        os.chown(database, 65534, -1)
    with hung(str(database)):
        made = [folder_of(database), *folder_of(database).iterdir()]
        assert {path.stat().st_uid for path in made} == {database.stat().st_uid}
        assert rings(database) == 1


def test_hang__changes_no_file_to_which_a_link_was_put_in_its_place(database, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.touch(0o644)
    taken = mock.Mock()
    taken.bind = lambda address: Path(address).symlink_to(other)
    monkeypatch.setattr(bells, "_new_socket", lambda: taken)
    with Folder(str(database), make=True) as folder, pytest.raises((OSError, ValueError)):
        folder.hang("0" * 16)
    assert mode(other) == 0o644
    assert taken.close.called


def test_hung__of_a_group_that_this_is_no_member_of(database, monkeypatch):
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError

    database.chmod(0o660)
    monkeypatch.setattr(os, "chown", refuse)
    with hung(str(database)):
        assert mode(folder_of(database)) == 0o700
        assert rings(database) == 1


def test_hung__where_a_path_is_too_long_for_a_socket(tmp_path):
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    database = deep / "db.sqlite3"
    database.touch(0o644)
    with hung(str(database)) as bell:
        assert rings(database) == 1
        assert bell.recv(8) == b"!"
    assert not list(folder_of(database).iterdir())


def test_hung__where_a_long_path_has_no_other_name(tmp_path, monkeypatch):
    """As where there is no /proc."""
    monkeypatch.setattr(bells, "MAX_PATH", 10_000)
    database = tmp_path / ("d" * 200)
    database.touch()
    with pytest.raises(OSError, match="too long"), hung(str(database)):
        pass


@pytest.mark.parametrize("name", ["link", "relative"])
def test_folder__is_the_same_by_every_name_of_the_file(database, monkeypatch, name):
    if name == "link":
        other = database.parent / "link.sqlite3"
        other.symlink_to(database)
    else:
        monkeypatch.chdir(database.parent)
        other = Path(database.name)
    with hung(str(database)):
        assert rings(other) == 1


def test_folder__that_is_a_link_is_not_followed(database, tmp_path):
    (tmp_path / "of others").mkdir()
    folder_of(database).symlink_to(tmp_path / "of others")
    with pytest.raises(OSError), hung(str(database)):  # noqa: PT011
        pass
    assert not list((tmp_path / "of others").iterdir())


def test_folder__that_others_may_write_to(database):
    folder_of(database).mkdir()
    for wider in 0o720, 0o702:
        folder_of(database).chmod(wider)
        with pytest.raises(PermissionError):
            Folder(str(database))


def test_folder__of_a_stranger(database, monkeypatch):
    folder_of(database).mkdir(0o700)
    fstat = os.fstat

    def of_a_stranger(descriptor: int) -> os.stat_result:
        found = list(fstat(descriptor))
        found[stat.ST_UID] += 1
        return os.stat_result(found)

    monkeypatch.setattr(os, "fstat", of_a_stranger)
    with pytest.raises(PermissionError):
        Folder(str(database))
    with pytest.raises(PermissionError), hung(str(database)):
        pass


def test_folder__of_another_in_the_group_of_the_file(database, monkeypatch):
    database.chmod(0o660)
    folder_of(database).mkdir()
    folder_of(database).chmod(0o770)
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    with Folder(str(database)) as folder:
        folder._owner = -1
        assert folder._is_for_us()
        folder._is_shared = False
        assert not folder._is_for_us()


def test_folder__is_made_by_none_that_only_rings(database):
    with pytest.raises(FileNotFoundError):
        Folder(str(database))
    assert not folder_of(database).exists()


def test_connect__removes_what_nobody_hears(database, monkeypatch):
    monkeypatch.setattr(bells, "STALE_SECONDS", -1.0)
    stale = leave_unheard(database)
    assert rings(database) == 0
    assert not stale.exists()


def test_connect__leaves_what_is_perhaps_being_hung(database):
    young = leave_unheard(database)
    assert rings(database) == 0
    assert young.exists()


def test_hung__removes_what_nobody_hears(database, monkeypatch):
    monkeypatch.setattr(bells, "STALE_SECONDS", -1.0)
    stale = leave_unheard(database)
    with hung(str(database)):
        assert not stale.exists()
        assert len(list(folder_of(database).iterdir())) == 1


def test_names__only_bells_and_not_too_many(database, monkeypatch):
    monkeypatch.setattr(bells, "MAX_BELLS", 2)
    with Folder(str(database), make=True) as folder:
        (folder_of(database) / "README").touch()
        (folder_of(database) / "aaaaaaaaaaaaaaaa").touch()  # no socket: not rung, and not removed
        for number in range(3):
            folder.hang(f"{number:016x}").close()
        assert len(folder.names()) == 2
        assert folder.connect("aaaaaaaaaaaaaaaa") is None
    assert (folder_of(database) / "aaaaaaaaaaaaaaaa").exists()


def test_names__without_those_of_this_process(database):
    with hung(str(database)), Folder(str(database)) as folder:
        assert folder.names() == []


def test_fork__a_child_rings_its_parent_and_hears_nothing(database):
    with hung(str(database)) as bell:
        child = os.fork()
        if not child:
            with Folder(str(database)) as folder:
                is_heard = [folder.connect(name) is not None for name in folder.names()]
            os._exit(0 if is_heard == [True] and bell.fileno() == -1 else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert rings(database) == 1, "it is still there"


def test_fork__a_child_that_ends_as_its_parent_would_takes_no_bell_away(database):
    hearing = hung(str(database))
    with hearing:
        child = os.fork()
        if not child:
            hearing.__exit__(None, None, None)
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert rings(database) == 1


def test_new_socket__never_blocks(database):
    with hung(str(database)) as bell:
        assert bell.getblocking() is False
        with pytest.raises(BlockingIOError):
            bell.recv(1)
        assert bell.type == socket.SOCK_DGRAM
