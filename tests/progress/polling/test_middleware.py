"""The headers of polls behind all the middleware of a site, and of one that has more."""

from collections.abc import Callable
from typing import Any

import pytest
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.test import Client
from django.utils.cache import patch_vary_headers

from jobs.lifecycle import ProcessingJobLifecycle
from tests.progress.polling import asking
from tests.progress.polling.asking import ask, url
from tests.progress.sockets import a_running_job
from tests.progress.watching import run

NAMES = {"Content-Type", "Content-Length", "Cache-Control", "X-Content-Type-Options", "Access-Control-Allow-Origin"}
AS_OF_A_BROWSER = {
    "Accept-Encoding": "gzip, br",
    "Accept-Language": "de",
    "Origin": "https://elsewhere.example",
    "If-None-Match": "*",
    "Cookie": "sessionid=0123456789abcdef0123456789abcdef; csrftoken=0123456789abcdef0123456789abcdef",
}
MORE = [
    "django.middleware.gzip.GZipMiddleware",
    "django.middleware.http.ConditionalGetMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    f"{__name__}.sharing",
    f"{__name__}.tokens",
]


def sharing(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Do what packages for CORS do."""

    def answered(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        patch_vary_headers(response, ["Origin"])
        response["Access-Control-Allow-Origin"] = request.headers.get("Origin", "")
        return response

    return answered


def tokens(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Give every client a session, and a cookie against forged requests."""

    def answered(request: HttpRequest) -> HttpResponse:
        request.session["seen"] = True
        get_token(request)
        return get_response(request)

    return answered


@pytest.fixture
def crowded(settings: Any) -> None:
    first, *others = settings.MIDDLEWARE
    settings.MIDDLEWARE = [first, *MORE[:-1], *others, MORE[-1]]


@pytest.mark.django_db
@pytest.mark.usefixtures("crowded")
def test_page__shows_what_this_middleware_does(client: Client) -> None:
    """Or the tests below could not fail."""
    headers = client.get("/", headers={"Accept-Encoding": "gzip", "Origin": "https://elsewhere.example"}).headers
    assert {"Cookie", "Accept-Encoding", "Origin", "Accept-Language"} <= set(headers["Vary"].split(", "))
    assert "ETag" not in headers  # of a page that must not be stored
    assert headers["Content-Encoding"] == "gzip"
    assert client.cookies.keys() == {"sessionid", "csrftoken"}


@pytest.mark.django_db
@pytest.mark.usefixtures("crowded")
def test_polls__are_what_they_are_whoever_asks(client: Client, make_job: Callable[..., ProcessingJobLifecycle]) -> None:
    job = make_job("job-1", status="in_progress", public=True)
    for number in range(300):
        job.mark_progress(number / 5)
    epoch = client.get(url("job-1")).json()["epoch"]
    places = [None, *({"epoch": epoch, "seq": seq} for seq in (0, 256, 302, 999))]
    for where in [*(url("job-1", place) for place in places), url("nobody"), url("job-1") + "/x"]:
        plain, browser = client.get(where), client.get(where, headers=AS_OF_A_BROWSER)
        assert plain.headers.keys() == NAMES
        assert (browser.status_code, browser.content, str(browser.headers)) == (
            plain.status_code,
            plain.content,
            str(plain.headers),
        )
        assert not client.cookies


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("crowded")
async def test_asgi__the_same(polls: asking.Client) -> None:
    await a_running_job()
    stands = await ask(polls, url("job-1"))
    for where in (url("job-1"), url("job-1", {**stands, "seq": 0}), url("nobody")):
        response = await polls.get(where, headers=AS_OF_A_BROWSER)
        assert response.headers.keys() == {name.title() for name in NAMES}


@pytest.mark.django_db
def test_urls__work_without_the_middleware(
    client: Client, settings: Any, make_job: Callable[..., ProcessingJobLifecycle]
) -> None:
    settings.MIDDLEWARE = settings.MIDDLEWARE[1:]
    make_job("job-1", public=True)
    assert client.get(url("job-1")).json()["seq"] == 1
    assert client.get(url("nobody")).json()["code"] == "job_not_found"


@pytest.mark.django_db(transaction=True)
async def test_site__that_has_our_urls_under_a_prefix(polls: asking.Client, settings: Any) -> None:
    settings.ROOT_URLCONF = "tests.progress.polling.prefixed_urls"
    await a_running_job()
    for response in (await polls.get(f"/live{url('job-1')}"), await run(Client().get)(f"/live{url('job-1')}")):
        assert {name.title() for name in response.headers} == {name.title() for name in NAMES}
        assert response.json()["seq"] == 5
