"""Proxies before two servers on one database, as docs/deployment.md has them.

made      a proxy of each kind, which was not started
cluster   two servers on one Redis and one PostgreSQL, for tests that stop them; before and all_proxies have proxies
standing  a proxy of each kind, running before two servers that live as long as the test run
"""

import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import MakeSite
from tests.installation import Served, Site
from tests.proxies import PROGRAMS, Proxy, installed, proxy


def two_servers(site: Site, folder: Path, *options: str, **how: str) -> list[Served]:
    """Start the two servers that the proxies of a folder ask."""

    def start(number: int) -> Served:
        return site.serve("-u", f"{folder}/{number}.sock", "--proxy-headers", *options, **how)

    with ThreadPoolExecutor() as threads:
        return list(threads.map(start, (1, 2)))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose path is short enough for a socket."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture(params=PROGRAMS)
def made(request: pytest.FixtureRequest, folder: Path) -> Proxy:
    return proxy(request.param, folder)


@pytest.fixture
def cluster(make_site: MakeSite, folder: Path) -> list[Served]:
    return two_servers(make_site("postgres+redis"), folder)


@pytest.fixture
def before(cluster: list[Served], made: Proxy) -> Iterator[Proxy]:
    """A proxy before the cluster."""
    yield made.start()
    made.close()


@pytest.fixture
def all_proxies(cluster: list[Served], folder: Path) -> Iterator[list[Proxy]]:
    """Each that is installed, running; what is not is told by the tests of each."""
    found = [proxy(program, folder).start() for program in PROGRAMS if installed(program)]
    if not found:
        pytest.skip("no nginx, haproxy or caddy: install one of these packages")
    yield found
    for each in found:
        each.close()


@pytest.fixture(scope="session")
def lasting_folder(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the sockets of two servers."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        site = Site(f"sqlite:///{sqlite_template}", tmp_path_factory.mktemp("lasting"))
        stack.callback(site.close)
        two_servers(
            site, Path(name), application="tests.deploy.telling:application", PROGRESS_MAX_CONNECTIONS_PER_CLIENT="1"
        )
        yield Path(name)


@pytest.fixture(params=PROGRAMS, scope="session")
def standing(request: pytest.FixtureRequest, lasting_folder: Path) -> Iterator[Proxy]:
    started = proxy(request.param, lasting_folder).start()
    yield started
    started.close()
