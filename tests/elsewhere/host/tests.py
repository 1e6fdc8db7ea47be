"""What the apps promise, held in this project."""

import asyncio
from typing import Any

from asgiref.sync import sync_to_async
from channels.testing import HttpCommunicator, WebsocketCommunicator
from django.apps import apps
from django.contrib.auth.models import Permission
from django.test import TestCase, TransactionTestCase

from host.accounts.models import Member
from host.asgi import application
from host.background.jobs.access import may_view
from host.background.jobs.exceptions import InvalidTransition
from host.background.jobs.lifecycle import ProcessingJobLifecycle
from host.background.jobs.models import JobEvent, ProcessingJob
from host.background.jobs.reporting import track
from host.background.progress.identity.tokens import issue_token


class Jobs(TransactionTestCase):
    """Jobs that are written here."""

    def test_lifecycle(self) -> None:
        """Each change is one event."""
        job = ProcessingJobLifecycle.create("job-1")
        job.mark_started()
        job.mark_progress(50, message="half of it")
        job.mark_completed()
        assert list(JobEvent.objects.values_list("seq", flat=True)) == [1, 2, 3, 4]
        with self.assertRaises(InvalidTransition):  # noqa: PT027  # no pytest runs these
            job.mark_started()

    def test_track(self) -> None:
        """What is gone through reports itself."""
        job = ProcessingJobLifecycle.create("job-2")
        assert list(track([1, 2], job)) == [1, 2]
        assert ProcessingJob.objects.get().status == "completed"

    def test_labels(self) -> None:
        """Tables and permissions have this project's labels."""
        assert ProcessingJob._meta.db_table == "work_processingjob"
        assert {each.label for each in apps.get_app_configs()} & {"jobs", "progress"} == set()


class Pages(TestCase):
    """Pages and the admin."""

    def setUp(self) -> None:
        """Make a hidden job, its owner, and one who may see all."""
        self.owner = Member.objects.create_user("ann@example.org")
        self.chief = Member.objects.create_user("bob@example.org", is_superuser=True)
        ProcessingJobLifecycle.create("job-1", owner=self.owner)

    def test_policy(self) -> None:
        """The permission has the app's label."""
        job = ProcessingJob.objects.get()
        assert Permission.objects.filter(content_type__app_label="work", codename="view_processingjob").exists()
        seen = [may_view(user, job) for user in (self.owner, self.chief, Member.objects.create_user("eve@example.org"))]
        assert seen == [True, True, False]

    def test_pages(self) -> None:
        """The pages are where this project has them."""
        assert self.client.get("/live/jobs/job-1/").status_code == 404
        self.client.force_login(self.owner)
        self.assertContains(self.client.get("/live/"), "/live/jobs/job-1/")
        self.assertContains(self.client.get("/live/jobs/job-1/"), "static/progress/job-page.js")

    def test_admin(self) -> None:
        """The admin lists, shows and makes jobs, and cancels them."""
        self.client.force_login(self.chief)
        self.assertContains(self.client.get("/admin/work/processingjob/"), "job-1")
        self.assertContains(self.client.get("/admin/work/processingjob/job-1/change/"), "/live/jobs/job-1/")
        chosen = {"action": "cancel_jobs", "_selected_action": ["job-1"]}
        self.client.post("/admin/work/processingjob/", chosen)
        assert ProcessingJob.objects.get().status == "cancelled"


class Sockets(TransactionTestCase):
    """A watcher's socket."""

    async def test_watch(self) -> None:
        """It has a snapshot, and then each event, also by a token; a stranger is turned away."""
        owner = await sync_to_async(Member.objects.create_user)("ann@example.org")
        job = await ProcessingJobLifecycle.acreate("job-1", owner=owner)
        await job.amark_started()
        token = await sync_to_async(issue_token)(owner)
        stranger = WebsocketCommunicator(application, "/progress/ws/job-1")
        assert (await stranger.connect())[0]
        refused = await until(stranger, "error")
        assert refused["code"] == "job_not_found"
        watcher = WebsocketCommunicator(application, "/progress/ws")
        await watcher.connect()
        await watcher.send_json_to({"type": "auth", "token": token})
        await watcher.send_json_to({"type": "subscribe", "job_id": "job-1"})
        assert (await until(watcher, "snapshot"))["status"] == "in_progress"
        await job.amark_progress(50)
        assert (await until(watcher, "progress"))["progress"] == 50
        await watcher.disconnect()

    async def test_stream(self) -> None:
        """The same comes as events, and pages are behind them."""
        await ProcessingJobLifecycle.acreate("job-1", public=True)
        stream = HttpCommunicator(application, "GET", "/progress/events/job-1")
        await stream.send_input({"type": "http.request"})
        assert (await stream.receive_output(10))["status"] == 200
        body = b""
        while b"snapshot" not in body:
            body += (await stream.receive_output(10))["body"]
        assert b"\nid: " in body
        await stream.send_input({"type": "http.disconnect"})
        await stream.wait(10)
        page = HttpCommunicator(application, "GET", "/live/jobs/nothing/")
        assert (await page.get_response(10))["status"] == 404
        await page.wait(10)


async def until(socket: WebsocketCommunicator, kind: str) -> dict[str, Any]:
    """Return the next frame of one type."""
    async with asyncio.timeout(10):
        while (frame := await socket.receive_json_from(10))["type"] != kind:
            pass
    return dict(frame)
