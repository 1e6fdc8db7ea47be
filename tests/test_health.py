"""What proxies and service managers are told of a server, on real ones."""

import asyncio
import http.client
import time
from contextlib import closing
from signal import SIGTERM

import pytest
from django.db import OperationalError
from websockets.sync.client import connect

from jobs.models import ProcessingJob
from progress_site import health
from tests.conftest import MakeSite
from tests.installation import Kind, Served, Site
from tests.servers import POLL_SECONDS, START_SECONDS, silent

STRICT = {  # as on the internet, so that Django would refuse or redirect
    "DJANGO_DEBUG": "0",
    "DJANGO_SECRET_KEY": "for-this-test-only",
    "DJANGO_ALLOWED_HOSTS": "example.org",
    "DJANGO_SECURE_SSL_REDIRECT": "1",
}


def asked(served: Served, path: str, method: str = "GET") -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        assert answer.getheader("set-cookie") is None
        return answer.status, answer.read().decode()


@pytest.mark.parametrize("kind", ["serve", "uvicorn"])
def test_health__is_told_to_whoever_asks_by_whatever_name(make_site: MakeSite, kind: Kind) -> None:
    served = make_site("sqlite").serve(kind=kind, **STRICT)
    assert asked(served, "/healthz") == asked(served, "/readyz") == (200, "OK\n")
    assert asked(served, "/readyz", "HEAD") == (200, "")
    assert asked(served, "/healthz", "POST") == (405, "GET or HEAD\n")
    assert asked(served, "/healthz/")[0] == asked(served, "/")[0] == 400  # Django's, of a host that is not allowed


@pytest.mark.slow
def test_ready__not_while_the_database_is_silent_and_healthy_all_the_same(postgres_site: Site) -> None:
    served = postgres_site.serve()
    assert asked(served, "/readyz") == (200, "OK\n")
    with silent(postgres_site.database_url):
        assert _until(served, 503) == "The database does not answer\n"
        assert asked(served, "/healthz") == (200, "OK\n")
    _until(served, 200)
    assert served.log_text().count("Not ready: no answer within 2 s") == 1
    assert served.log_text().count("Ready again") == 1


def _until(served: Served, status: int) -> str:
    """Ask until the answer has this status, and return its words; an answer is kept for a second."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found, words = asked(served, "/readyz")
        if found == status:
            return words
        time.sleep(POLL_SECONDS)
    raise AssertionError(f"never {status}")


def test_health__of_a_server_that_drains(sqlite_site: Site) -> None:
    served = sqlite_site.serve()
    with closing(http.client.HTTPConnection("127.0.0.1", served.port)) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"OK\n"
        with connect(f"{served.ws_url}/progress/ws", proxy=None):  # for which the drain takes a moment
            served.signal(SIGTERM)
            served.wait_for_log("Saying goodbye")
            connection.request("GET", "/healthz")
            assert connection.getresponse().status == 503
    with pytest.raises(ConnectionRefusedError):
        asked(served, "/healthz")


async def test_database__is_asked_once_for_all_and_not_again_within_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    asks: list[int] = []

    def exists() -> bool:
        asks.append(1)
        raise OperationalError("it is gone")

    monkeypatch.setattr(ProcessingJob.objects, "exists", exists, raising=False)
    database = health.Database()
    assert set(await asyncio.gather(*(database.trouble() for _ in range(50)))) == {"it is gone"}
    assert await database.trouble() == "it is gone"
    assert len(asks) == 1
    monkeypatch.setattr(health, "KEEP_SECONDS", 0.0)
    assert await database.trouble() == "it is gone"
    assert len(asks) == 2
