"""The files of deploy/, as their own programs read them, beside the settings that they have to agree with."""

import re
from pathlib import Path

import pytest
from daphne.cli import CommandLineInterface

from progress.conf import Conf
from progress.polling.windows import WINDOW_MS
from tests.installation import ROOT
from tests.proxies import Proxy, proxy

FILES = {path.name: path.read_text() for path in (ROOT / "deploy").iterdir()}
EDITS = {"nginx.conf": "three", "haproxy.cfg": "three", "Caddyfile": "two", "varnish.vcl": "one"}


def test_file__is_valid(made: Proxy) -> None:
    done = made.checked()
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not re.search(r"\[warn\]|\[WARNING\]|not formatted|deprecated", said), said


def test_varnish__compiles_its_file(folder: Path) -> None:
    done = proxy("varnishd", folder).checked()
    assert done.returncode == 0, done.stderr[:2000]


def seconds(file: str, directive: str) -> float:
    """Return the time that a directive has, the same wherever it stands."""
    (found,) = set(re.findall(rf"[\s.]{directive}[ =]+(\d+)s\b", FILES[file]))
    return float(found)


@pytest.mark.parametrize(
    ("file", "directive"),
    [
        ("nginx.conf", "proxy_read_timeout"),
        ("nginx.conf", "proxy_send_timeout"),
        ("haproxy.cfg", "timeout tunnel"),
    ],
)
def test_silence__is_allowed_for_two_signs_of_life(file: str, directive: str) -> None:
    (ping,) = (a.default for a in CommandLineInterface().parser._actions if a.dest == "ping_interval")
    assert seconds(file, directive) > 2 * max(Conf.HEARTBEAT_SECONDS, ping)


@pytest.mark.parametrize(
    ("file", "directive"),
    [
        ("nginx.conf", "proxy_cache_lock_timeout"),
        ("nginx.conf", "proxy_cache_lock_age"),
        ("nginx.conf", "proxy_read_timeout"),
        ("varnish.vcl", "first_byte_timeout"),
    ],
)
def test_wait__is_shorter_than_what_a_cache_allows(file: str, directive: str) -> None:
    assert seconds(file, directive) > 2 * WINDOW_MS / 1000


@pytest.mark.parametrize(
    ("file", "limit"), [("nginx.conf", r"max_body_size (\d+)m;"), ("Caddyfile", r"max_size (\d+)MiB")]
)
def test_body__has_the_limit_of_serve(file: str, limit: str) -> None:
    (megabytes,) = re.findall(limit, FILES[file])
    assert int(megabytes) * 1024 * 1024 == Conf.MAX_BODY_BYTES


def test_nginx__may_open_what_it_needs() -> None:
    text = FILES["nginx.conf"]
    (files,), (connections,) = (re.findall(rf"{name} (\d+);", text) for name in ("_nofile", "worker_connections"))
    assert int(files) > 2 * int(connections)


@pytest.mark.parametrize("file", EDITS)
def test_file__says_what_is_to_be_edited(file: str) -> None:
    count = {"one": 1, "two": 2, "three": 3}[EDITS[file]]
    assert f"the {EDITS[file]} place{'s' if count > 1 else ''} marked EDIT" in FILES[file]
    assert len(re.findall(r"# EDIT\b", FILES[file])) == count


@pytest.mark.parametrize("file", EDITS)
def test_file__binds_nobody_to_a_server(file: str) -> None:
    assert not re.search(r"ip_hash|cookie|sticky|stick-table|balance source|uri_hash", FILES[file])


def test_haproxy__writes_an_address_of_ipv4_as_one() -> None:
    """As ::ffff:192.0.2.1, all of them would be in one /64: one client."""
    assert not re.search(r"^\s*bind .*v4v6", FILES["haproxy.cfg"], re.MULTILINE)
    assert re.findall(r"^\s*bind :::\d+ (\w+)", FILES["haproxy.cfg"], re.MULTILINE) == ["v6only", "v6only"]
