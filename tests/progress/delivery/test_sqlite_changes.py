"""SQLite's change counter."""

import sqlite3
from contextlib import closing

import pytest
from django.db import connections

from progress.delivery.sqlite_changes import DataVersion


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a 100% #1 database?.sqlite3"
    write(path, "PRAGMA journal_mode=WAL", "CREATE TABLE t (x)")
    return path


def write(path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def test_has_changed__once_for_each_write_of_others(path):
    with closing(DataVersion(str(path))) as version:
        assert not version.has_changed()
        write(path, "INSERT INTO t VALUES (1)")
        assert version.has_changed()
        assert not version.has_changed()


def test_has_changed__not_before_the_commit(path):
    with closing(DataVersion(str(path))) as version, closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        writer.execute("INSERT INTO t VALUES (1)")
        assert not version.has_changed()
        writer.execute("COMMIT")
        assert version.has_changed()


def test_has_changed__a_locked_file_is_being_written(path):
    write(path, "PRAGMA journal_mode=DELETE")
    with closing(DataVersion(str(path))) as version, closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        assert version.has_changed()


def test_data_version__of_a_file_that_is_locked_just_then(path):
    """As it is while its first user opens it, or its last one closes it: the first client is not refused for that."""
    write(path, "PRAGMA journal_mode=DELETE")
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        with closing(DataVersion(str(path))) as version:
            assert version.has_changed()
            writer.execute("COMMIT")
            assert version.has_changed()
            assert not version.has_changed()


def test_data_version__of_no_file(tmp_path):
    with pytest.raises(sqlite3.OperationalError):
        DataVersion(str(tmp_path / "absent"))
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize("as_uri", [False, True])
def test_of_database__a_file(monkeypatch, path, as_uri):
    name = f"{path.as_uri()}?cache=private" if as_uri else path
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", name)
    version = DataVersion.of_database()
    assert version is not None
    with closing(version):
        write(path, "INSERT INTO t VALUES (1)")
        assert version.has_changed()


@pytest.mark.parametrize("name", [":memory:", "file:x?mode=memory&cache=shared", "file::memory:"])
def test_of_database__none_in_memory(monkeypatch, name):
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", name)
    assert DataVersion.of_database() is None
