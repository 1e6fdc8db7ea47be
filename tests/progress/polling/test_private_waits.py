"""Waits of one client, within this process."""

import asyncio
from typing import Any

import pytest
from django.contrib.auth.models import User

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import ProcessingJob
from progress.polling import waits
from tests.progress.polling.asking import Client, ask, seqs, url, waiting
from tests.progress.sockets import a_job, a_running_job, a_token, a_user

pytestmark = pytest.mark.django_db(transaction=True)


async def ann_waits(polls: Client) -> "asyncio.Task[Any]":
    """Have Ann wait for her own job, which nobody else may see; return the task of her request."""
    ann = await a_user()
    await a_job("secret", public=False, owner=ann)
    token = f"Bearer {await a_token(ann)}"
    stands = await ask(polls, url("secret", form="private"), authorization=token)
    return await waiting(polls, url("secret", stands, "private", wave=stands["wave"] + 1), authorization=token)


async def test_private_wait__event(polls: Client) -> None:
    task = await ann_waits(polls)
    await ProcessingJobLifecycle("secret").amark_started()
    assert seqs((await task).json()) == [2]


async def test_private_wait__withdrawn(polls: Client, settings: Any) -> None:
    settings.PROGRESS_ACCESS_SECONDS = 0.1
    task = await ann_waits(polls)
    await ProcessingJob.objects.filter(pk="secret").aupdate(owner=None)
    assert (await task).status_code == 404


async def test_private_wait__user_who_may_no_longer_sign_in(polls: Client, settings: Any) -> None:
    settings.PROGRESS_ACCESS_SECONDS = 0.1
    task = await ann_waits(polls)
    await User.objects.aupdate(is_active=False)
    assert (await task).status_code == 401


async def test_private_wait__ends_with_the_token(polls: Client) -> None:
    ann = await a_user()
    await a_job("secret", public=False, owner=ann)
    token = f"Bearer {await a_token(ann, seconds=2)}"
    stands = await ask(polls, url("secret", form="private"), authorization=token)
    answer = await ask(polls, url("secret", stands, "private", wave=stands["wave"] + 1), authorization=token)
    assert answer["events"] == []


async def test_waits_of_one_client__count_as_its_connections(polls: Client, settings: Any) -> None:
    settings.PROGRESS_MAX_CONNECTIONS_PER_CLIENT = 1
    ann, bob = await a_user(), await a_user("bob")
    await a_running_job()
    own, others = f"Bearer {await a_token(ann)}", f"Bearer {await a_token(bob)}"
    stands = await ask(polls, url("job-1", form="private"), authorization=own)
    where = url("job-1", stands, "private", wave=stands["wave"] + 1)
    first = await waiting(polls, where, authorization=own)
    refused = await polls.get(where, headers={"authorization": own})
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_waits")
    other = await waiting(polls, where, authorization=others)
    waits.current().drain()
    assert {(await first).status_code, (await other).status_code} == {200}
