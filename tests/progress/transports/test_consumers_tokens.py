"""Tokens, through the site's ASGI application: what they grant and narrow, renewed and revoked."""

import threading
import time
from typing import Any

import pytest
from django.db import OperationalError

from jobs.models import ProcessingJob
from progress.delivery import hubs
from progress.identity import tokens
from progress.identity.revocation import revoke_token
from progress.protocol.codes import CloseCode
from progress.transports import session
from tests.progress.delivery.guarding import is_served
from tests.progress.identity.minting import KEYS, pair, shared
from tests.progress.identity.test_revocation import name_of
from tests.progress.sockets import a_job, a_running_job, a_token, a_user
from tests.progress.watching import WAIT_SECONDS, Socket, bearer, run, timers, watching

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("keys")]


@pytest.fixture
def keys(settings: Any) -> None:
    settings.PROGRESS_TOKEN_KEYS = KEYS
    settings.PROGRESS_ACCESS_SECONDS = 60.0  # the guard is asked by hand


async def asked() -> None:
    await hubs.current().guard.check()


async def subscribed(socket: Socket, *job_ids: str) -> dict[str, str]:
    """Return what a subscription to each job is answered."""
    answers = {}
    for job_id in job_ids:
        frame = await socket.ask(type="subscribe", job_id=job_id)
        answers[job_id] = frame["code"] if frame["type"] == "error" else frame["type"]
    return answers


SNAPSHOT, NOT_FOUND = "snapshot", "job_not_found"


@pytest.mark.parametrize("token", [shared, pair])
async def test_grant__without_a_user_admits_to_what_it_names_and_nothing_else(token: Any) -> None:
    for job_id in ("job-1", "import-7", "other"):
        await a_job(job_id, public=False)
    await a_job("public")
    headers = bearer(token(watch={"jobs": ["job-1", "import-*", "no-such-job"]}))
    async with watching("/progress/ws", headers) as socket:
        assert await subscribed(socket, "job-1", "import-7", "other", "public", "no-such-job") == {
            "job-1": SNAPSHOT,
            "import-7": SNAPSHOT,
            "other": NOT_FOUND,
            "public": NOT_FOUND,
            "no-such-job": NOT_FOUND,
        }
        await asked()
        assert await is_served(socket)


async def test_grant__with_a_user_narrows_what_they_may_see() -> None:
    ann = await a_user()
    await a_job("mine", owner=ann, public=False)
    await a_job("mine-too", owner=ann, public=False)
    await a_job("theirs", public=False)
    token = await a_token(ann, jobs=["mine", "theirs"])
    async with watching("/progress/ws", bearer(token)) as socket:
        assert await subscribed(socket, "mine", "mine-too", "theirs") == {
            "mine": SNAPSHOT,
            "mine-too": NOT_FOUND,
            "theirs": NOT_FOUND,
        }


async def asked_together(sockets: list[Socket], job_id: str) -> list[str]:
    for socket in sockets:
        await socket.send_json_to({"type": "subscribe", "job_id": job_id})
    return [(await socket.next())["type"] for socket in sockets]


async def test_grant__answers_are_not_shared_by_who_has_another() -> None:
    """Of those who ask at once about one job, as the same user or as nobody in particular."""
    ann = await a_user()
    await a_job("job-1", owner=ann, public=False)
    named, other = {"watch": {"jobs": ["job-1"]}}, {"watch": {"jobs": ["another"]}}
    granted = [
        pair(jti="a", **named),
        pair(jti="b", sub=str(ann.pk), **named),
        pair(jti="c", sub=str(ann.pk), watch=...),
    ]
    others = [pair(jti="d", **other), pair(jti="e", sub=str(ann.pk), **other)]
    sockets = [await Socket("/progress/ws", bearer(token)).open() for token in (*granted, *others)]
    sockets.append(await Socket("/progress/ws").open())
    for socket in sockets:
        assert await socket.so_far() == []  # it knows by then who they are
    await asked()  # from here on, all of a user have one object
    users = [socket.identity.user for socket in hubs.current().connections if socket.identity.user.pk == ann.pk]
    assert len(users) == 3
    assert all(user is users[0] for user in users)
    for turn in (sockets, sockets[::-1]):
        kinds = dict(zip(turn, await asked_together(turn, "job-1"), strict=True))
        assert [kinds[socket] for socket in sockets] == ["snapshot"] * 3 + ["error"] * 3
    await asked()
    for socket in sockets:
        assert await is_served(socket)
        await socket.leave()


async def test_feed__of_a_grant_shows_what_it_names() -> None:
    ann = await a_user()
    for job_id, owner in (("mine", ann), ("mine-too", ann), ("import-1", None)):
        await a_job(job_id, owner=owner, public=False)
    alone = bearer(shared(watch={"jobs": ["import-*"], "feed": "all"}))
    narrowed = bearer(await a_token(ann, jobs=["mine", "import-*"], feed="mine"))
    async with watching("/progress/ws", alone) as guest, watching("/progress/ws", narrowed) as owner:
        first = await guest.ask(type="subscribe", feed="all")
        assert [job["job_id"] for job in first["jobs"]] == ["import-1"]
        first = await owner.ask(type="subscribe", feed="mine")
        assert [job["job_id"] for job in first["jobs"]] == ["mine"]
        assert (await owner.ask(type="subscribe", feed="all"))["code"] == "not_authenticated"
        assert (await guest.ask(type="subscribe", feed="mine"))["code"] == "not_authenticated"
        await a_job("mine-new", owner=ann, public=False)
        await a_job("import-2", owner=None, public=False)
        assert [job["job_id"] for job in (await guest.next())["jobs"]] == ["import-2"]
        await asked()
        assert await is_served(guest)
        assert await is_served(owner)


async def test_renewal__loses_no_event_and_asks_for_no_reconnect() -> None:
    job = await a_running_job(ticks=0)
    await run(job.edit)(public=False)
    first, second = shared(jti="first"), shared(jti="second")
    async with watching("/progress/ws", bearer(first)) as socket:
        assert (await socket.ask(type="subscribe", job_id="job-1"))["seq"] == 3
        await socket.send_json_to({"type": "auth", "token": second})
        for number in range(20):
            await job.amark_progress(number + 1)
        frames = [await socket.next()]
        while not any(frame["type"] == "authenticated" for frame in frames):
            frames.append(await socket.next())
        await run(revoke_token)("first")
        await asked()
        await job.amark_completed()
        while frames[-1].get("status") != "completed":
            frames.append(await socket.next())
        assert [frame["seq"] for frame in frames if frame["type"] == "progress"] == list(range(4, 25))


async def test_renewal__ends_what_is_no_longer_granted() -> None:
    for job_id in ("job-1", "job-2"):
        await a_job(job_id, public=False)
    wide, narrow = {"jobs": ["job-*"], "feed": "all"}, {"jobs": ["job-1"]}
    async with watching("/progress/ws", bearer(shared(jti="wide", watch=wide))) as socket:
        assert await subscribed(socket, "job-1", "job-2") == {"job-1": SNAPSHOT, "job-2": SNAPSHOT}
        assert (await socket.ask(type="subscribe", feed="all"))["type"] == "feed"
        await socket.send_json_to({"type": "auth", "token": shared(jti="narrow", watch=narrow)})
        frames = await socket.so_far()
        errors = {frame["subject"]: frame["code"] for frame in frames if frame["type"] == "error"}
        assert errors == {"job-2": NOT_FOUND, "all": "not_authenticated"}
        assert frames[-1]["type"] == "authenticated" or frames[-2]["type"] == "authenticated"
        await a_job("job-3", public=False)
        await asked()
        assert await is_served(socket)


@pytest.mark.parametrize("revoked", ["ours", "theirs"])
async def test_revocation__ends_its_sockets_and_no_others(revoked: str) -> None:
    await a_job("job-1", public=False)
    ours = await run(tokens.issue_token)(None, ["job-1"])
    others = [shared(jti="another"), await run(tokens.issue_token)(None, ["job-1"])]
    token = ours if revoked == "ours" else shared()
    async with watching("/progress/ws/job-1", bearer(token)) as socket:
        assert (await socket.next())["type"] == "snapshot"
        rest = [await Socket("/progress/ws/job-1", bearer(each)).open() for each in others]
        for each in rest:
            assert (await each.next())["type"] == "snapshot"
        await run(revoke_token)(name_of(token))
        await asked()
        assert await socket.close_code() == CloseCode.NOT_AUTHENTICATED
        for each in rest:
            assert await is_served(each)
            await each.leave()
    async with watching("/progress/ws", bearer(token)) as socket:
        assert (await socket.next())["code"] == "not_authenticated"
        assert await socket.close_code() == CloseCode.NOT_AUTHENTICATED


async def test_refusals__are_one_answer_and_no_log_line_has_the_token(logged: Any) -> None:
    expired, forged = shared(exp=1), shared(secret="x" * 64)
    await run(revoke_token)("gone")
    answers = []
    for token in (expired, forged, shared(jti="gone"), shared(sub="77", watch=...), "nonsense", "a.b.c"):
        async with watching() as socket:
            answers.append((await socket.ask(type="auth", token=token), await socket.close_code()))
        assert not [record for record in logged.records if token in record.getMessage()]
    assert all(answer == answers[0] for answer in answers)


@pytest.mark.parametrize("is_answered", [True, False])
async def test_renewal__in_time_is_not_overtaken_by_the_end_of_the_first(
    monkeypatch: pytest.MonkeyPatch, is_answered: bool
) -> None:
    """However long the check takes; if the database does not answer, the first token's end stands."""
    verify, asked_for, passing = session.verify_token, threading.Event(), threading.Event()

    def slow(token: str) -> Any:
        asked_for.set()
        assert passing.wait(WAIT_SECONDS)
        if not is_answered:
            raise OperationalError("silent")
        return verify(token)

    await a_job("job-1", public=False)
    async with watching("/progress/ws/job-1", bearer(shared(jti="first"))) as socket:
        assert (await socket.next())["type"] == "snapshot"
        (first,) = timers()
        monkeypatch.setattr(session, "verify_token", slow)
        await socket.send_json_to({"type": "auth", "token": shared(jti="second", exp=int(time.time()) + 1200)})
        await run(asked_for.wait)(WAIT_SECONDS)
        assert timers() == []
        passing.set()
        assert (await socket.next())["type"] == ("authenticated" if is_answered else "error")
        (last,) = timers()
        assert last.when() - first.when() == pytest.approx(600 if is_answered else 0, abs=5)


async def test_feed__shows_what_may_be_seen_newly_of_what_is_named() -> None:
    ann = await a_user()
    for job_id in ("a-1", "b-1"):
        await a_job(job_id, public=False)
    narrowed, alone = await a_token(ann, jobs=["a-*"]), shared(watch={"jobs": ["b-*"], "feed": "all"})
    async with watching("/progress/ws", bearer(narrowed)) as socket, watching("/progress/ws", bearer(alone)) as guest:
        assert (await socket.ask(type="subscribe", feed="all"))["jobs"] == []
        assert [job["job_id"] for job in (await guest.ask(type="subscribe", feed="all"))["jobs"]] == ["b-1"]
        await run(ProcessingJob.objects.update)(public=True)
        await asked()
        assert [job["job_id"] for job in (await socket.next())["jobs"]] == ["a-1"]
        await guest.send_json_to({"type": "auth", "token": shared(jti="wider", watch={"jobs": ["a-1"], "feed": "all"})})
        frames = {frame["type"]: frame for frame in [await guest.next() for _ in range(3)]}
        assert frames["error"]["subject"] == "b-1"
        assert [job["job_id"] for job in frames["feed"]["jobs"]] == ["a-1"]
