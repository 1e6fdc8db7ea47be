"""Who a stream is for: by token, by cookie of a page, and what ends when that does."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as site

from jobs.lifecycle import ProcessingJobLifecycle
from progress.identity import web_tokens
from progress.identity.revocation import revoke_token
from tests.progress.identity.test_auth import cookie_of
from tests.progress.sockets import a_job, a_token, a_user, an_expired_token, is_without_trace
from tests.progress.transports.sse.stream import ended, refused, streaming
from tests.progress.watching import bearer, run

pytestmark = pytest.mark.django_db(transaction=True)

ONE = "/progress/events/job-1"


async def a_private_job() -> Any:
    user = await a_user()
    await ProcessingJobLifecycle.acreate("job-1", owner=user)
    return user


async def test_token__shows_what_its_user_may_see():
    user = await a_private_job()
    async with streaming(ONE, bearer(await a_token(user))) as stream:
        assert (await stream.frame())["type"] == "snapshot"
    assert (await refused(ONE, bearer(await a_token(await a_user("bob")))))[0] == 404
    assert (await refused(ONE))[0] == 404
    await is_without_trace()


@pytest.mark.parametrize("kind", ["nonsense", "expired", "revoked", "empty"])
async def test_token__that_is_none_is_refused(kind):
    user = await a_private_job()
    token = {"nonsense": "x.y.z", "expired": an_expired_token(user), "empty": ""}.get(kind) or await a_token(user)
    if kind == "revoked":
        await run(revoke_token)(web_tokens.decode(token).jti)
    if kind == "empty":
        token = ""
    async with streaming(ONE, bearer(token)) as stream:
        assert (stream.status, stream.headers[b"www-authenticate"]) == (401, b"Bearer")
        assert (await stream.error())["code"] == "not_authenticated"
    await is_without_trace()


async def test_token__the_stream_ends_with_it():
    user = await a_private_job()
    claims = {"jti": "short", "sub": str(user.pk)}
    token = web_tokens.encode(claims, datetime.now(UTC) + timedelta(seconds=2))
    async with streaming(ONE, bearer(token)) as stream:
        assert (await stream.frame())["type"] == "snapshot"
        assert await ended(stream) == []
    assert (await refused(ONE, bearer(token)))[0] == 401


async def test_token__that_is_revoked_ends_its_stream(settings):
    settings.PROGRESS_ACCESS_SECONDS = 0.1
    user = await a_private_job()
    token = await a_token(user)
    async with streaming(ONE, bearer(token)) as stream:
        assert (await stream.frame())["type"] == "snapshot"
        await run(revoke_token)(web_tokens.decode(token).jti)
        assert await ended(stream) == []


async def test_cookie__of_a_page_of_the_site_and_of_no_other():
    user = await a_private_job()
    name, value = await run(cookie_of)(user)
    cookie = (name.encode(), value.encode())
    assert site.SESSION_COOKIE_NAME in value
    async with streaming(ONE, cookie, (b"sec-fetch-site", b"same-origin")) as stream:
        assert (await stream.frame())["type"] == "snapshot"
    for headers in ([], [(b"sec-fetch-site", b"cross-site")], [(b"sec-fetch-site", b"none")]):
        assert (await refused(ONE, cookie, *headers))[0] == 404


async def test_right__that_is_withdrawn_ends_the_stream(settings):
    settings.PROGRESS_ACCESS_SECONDS = 0.1
    user = await a_user(is_staff=True, is_superuser=True)
    await a_job(public=False)
    async with streaming(ONE, bearer(await a_token(user))) as stream:
        assert (await stream.frame())["type"] == "snapshot"
        user.is_superuser = False
        await run(user.save)()
        assert [frame["code"] for frame in await ended(stream)] == ["job_not_found"]
    await is_without_trace()


@pytest.mark.parametrize("origin", [b"http://example.com", b"null", b"http://[", b"https://localhost"])
async def test_origin__of_another_site_is_refused(origin):
    await a_job()
    async with streaming(ONE, (b"origin", origin)) as stream:
        assert stream.status == 403
        assert (await stream.error())["code"] == "foreign_origin"
        assert b"access-control-allow-origin" not in stream.headers
    await is_without_trace()


@pytest.mark.parametrize(("path", "status"), [(ONE, 200), ("/progress/events/nope", 404)])
async def test_origin__that_is_trusted_may_read(settings, path, status):
    settings.CSRF_TRUSTED_ORIGINS = ["https://*.example.org"]
    await a_job()
    async with streaming(path, (b"origin", b"https://app.example.org")) as stream:
        assert stream.status == status
        assert stream.headers[b"access-control-allow-origin"] == b"https://app.example.org"
        assert stream.headers[b"access-control-allow-credentials"] == b"true"
        assert stream.headers[b"vary"] == b"Origin"
        if status != 200:
            await stream.error()


async def test_many__at_once_each_see_their_own():
    """The same chunks serve all who watch a job, and no other."""
    users = [await a_user(name) for name in ("ann", "bob", "cat")]
    jobs = [await ProcessingJobLifecycle.acreate(f"job-{user.username}", owner=user) for user in users]
    every = "&".join(f"job={job.job_id}" for job in jobs)

    async def watch(user: Any) -> set[str]:
        async with streaming(f"/progress/events?{every}", bearer(await a_token(user))) as stream:
            frames = [await stream.frame() for _ in jobs]
            return {frame["job_id"] for frame in frames if frame["type"] == "snapshot"}

    seen = await asyncio.gather(*map(watch, users))
    assert seen == [{job.job_id} for job in jobs]
