"""Jobs in the tests of a project that uses them: Django's TestCase, asynchronous tests, the test client."""

from typing import Any

from asgiref.sync import async_to_sync
from django.db import connection
from django.test import TestCase, TransactionTestCase

from jobs.lifecycle import ProcessingJobLifecycle
from jobs.models import JobEvent, ProcessingJob
from jobs.signals import job_event_committed


class InATestCase(TestCase):
    """What a test of this kind writes is rolled back, and told only where the test says so."""

    @classmethod
    def setUpTestData(cls) -> None:
        cls.lifecycle = ProcessingJobLifecycle.create("job-1")

    async def test_asynchronous_methods_write_into_the_tests_transaction(self) -> None:
        await self.lifecycle.amark_started()
        await self.lifecycle.amark_progress(current=1, total=4)
        job = await ProcessingJob.objects.aget()
        assert (job.status, job.progress) == ("in_progress", 25.0)
        assert await JobEvent.objects.acount() == 3

    def test_each_begins_anew(self) -> None:
        assert ProcessingJob.objects.get().status == "pending"
        self.lifecycle.mark_started()
        assert self.lifecycle.job.status == "in_progress"

    def test_asynchronous_code_that_is_called_from_synchronous_code(self) -> None:
        async_to_sync(self.lifecycle.amark_started)()
        async_to_sync(ProcessingJobLifecycle.acreate)("job-2")
        assert ProcessingJob.objects.count() == 2

    def test_events_are_told_where_commits_are_captured(self) -> None:
        told: list[Any] = []

        def receive(event: Any, **_: Any) -> None:
            told.append(event)

        job_event_committed.connect(receive)
        self.addCleanup(job_event_committed.disconnect, receive)
        with self.captureOnCommitCallbacks(execute=True):
            self.lifecycle.mark_started()
        assert [event.status for event in told] == ["in_progress"]


class InATransactionTestCase(TransactionTestCase):
    """What a test of this kind writes is committed."""

    async def test_asynchronous_methods(self) -> None:
        lifecycle = await ProcessingJobLifecycle.acreate("job-1")
        await lifecycle.amark_started()
        assert (await ProcessingJob.objects.aget()).status == "in_progress"

    def test_no_connection_is_left(self) -> None:
        async_to_sync(ProcessingJobLifecycle.acreate)("job-1")
        if connection.vendor == "postgresql":
            with connection.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
                assert cursor.fetchone() == (1,)
