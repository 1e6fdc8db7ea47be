"""What the tests of the consumer share: jobs, users, tokens, and a look at what is left behind."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib.auth.models import User

from jobs.lifecycle import ProcessingJobLifecycle
from progress.delivery import hubs
from progress.identity import tokens, web_tokens
from tests.progress.watching import eventually, run


async def a_job(job_id: str = "job-1", **fields: Any) -> ProcessingJobLifecycle:
    return await ProcessingJobLifecycle.acreate(job_id, **{"public": True, **fields})


async def a_user(name: str = "ann", **fields: Any) -> User:
    return await run(User.objects.create_user)(name, **fields)


async def a_token(user: User, **options: Any) -> str:
    return await run(tokens.issue_token)(user, **options)


def an_expired_token(user: User) -> str:
    return web_tokens.encode({"jti": "old", "sub": str(user.pk)}, datetime.now(UTC) - timedelta(seconds=1))


async def a_running_job(ticks: int = 3) -> ProcessingJobLifecycle:
    """A job at seq ``ticks + 2``."""
    job = await a_job()
    await job.amark_started()
    for number in range(ticks):
        await job.amark_progress(number + 1)
    return job


def seqs(frames: list[Any]) -> list[int]:
    return [frame["seq"] for frame in frames]


async def is_without_trace() -> None:
    """Wait until nothing of any socket is left in this process."""
    here = hubs.current()
    await eventually(lambda: not (here.jobs or here.connections or here.feed.is_watched or here.places._taken))
    own = asyncio.current_task()
    await eventually(lambda: [task for task in asyncio.all_tasks() if task is not own] == [])
