"""The threads that write for asynchronous code."""

import threading
from typing import Any

import pytest
from django.core.checks import run_checks

from jobs import threads
from jobs.threads import ThreadPool
from tests.conftest import MakeSite

pytestmark = pytest.mark.django_db  # of which some checks of Django's make use


@pytest.mark.parametrize("size", [0, -1, 1.5, "4", True, 1_001, None])
def test_check__the_size_is_a_number_of_threads(settings: Any, size: Any) -> None:
    settings.JOBS_MAX_THREADS = size
    assert "jobs.E003" in [message.id for message in run_checks()]


@pytest.mark.parametrize("size", [1, 1_000])
def test_check__a_size_that_is_fine(settings: Any, size: int) -> None:
    settings.JOBS_MAX_THREADS = size
    assert run_checks() == []


def test_check__a_database_without_autocommit_is_named(settings: Any) -> None:
    settings.DATABASES["default"]["AUTOCOMMIT"] = False
    try:
        assert "jobs.E004" in [message.id for message in run_checks()]
    finally:
        settings.DATABASES["default"]["AUTOCOMMIT"] = True


@pytest.mark.sqlite
@pytest.mark.parametrize(("options", "found"), [({"transaction_mode": "IMMEDIATE"}, []), ({}, ["jobs.W001"])])
def test_check__an_sqlite_whose_writers_do_not_wait_is_named(monkeypatch: Any, options: Any, found: list[str]) -> None:
    from django.conf import settings

    monkeypatch.setitem(settings.DATABASES["default"], "OPTIONS", options)
    assert [message.id for message in run_checks() if message.id == "jobs.W001"] == found


async def test_pool__has_as_many_threads_as_the_setting_says(settings: Any) -> None:
    import asyncio

    settings.JOBS_MAX_THREADS = 2
    pool, barrier = ThreadPool("test", threads.max_threads), threading.Barrier(2, timeout=5)

    def work() -> int:
        barrier.wait()
        return threading.get_ident()

    idents = await asyncio.gather(*[pool.run(work) for _ in range(4)])
    assert len(set(idents)) == 2


def test_fork__the_child_writes_as_well(make_site: MakeSite) -> None:
    site = make_site("sqlite")
    printed = site.worker("""
        import asyncio, os
        from django.db import connections
        from jobs.lifecycle import ProcessingJobLifecycle

        job = asyncio.run(ProcessingJobLifecycle.acreate("job-1"))
        connections.close_all()
        child = os.fork()
        if not child:
            asyncio.run(job.amark_started())
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """)
    assert printed.strip() == "0"
    assert site.job("job-1")["status"] == "in_progress"
