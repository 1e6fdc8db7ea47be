"""A feed as one client knows it on one socket, folded as the protocol tells clients to."""

from typing import TYPE_CHECKING, Any

from progress.conf import conf
from tests.simulation.database import BEGIN, Row, stalled_in, state_in
from tests.simulation.views import GRACE_SECONDS

if TYPE_CHECKING:
    from tests.simulation.clients import Client

NEWS_SECONDS = 5.0  # after which a feed shows what may be seen newly


class FeedView:
    """A feed as one client knows it on one socket."""

    def __init__(self, client: "Client", name: str, asked_at: float) -> None:
        self.client, self.name, self.asked_at = client, name, asked_at
        self.is_answered = False
        # Epoch, status and the number of the commit shown, and since when the worker is lost
        self.jobs: dict[str, tuple[str, str, int, str]] = {}

    def take(self, frame: dict[str, Any]) -> None:
        self.is_answered = True
        world = self.client.world
        for entry in frame["jobs"]:
            job_id = entry["job_id"]
            state = state_in(entry)
            self.client.claim(state in world.database.states, f"feed {self.name}: never was {state}")
            rows = world.database.since(job_id, world.loop.time() - GRACE_SECONDS - conf.SEND_SECONDS)
            is_fine = any(row is not None and self.shows(row) for row in rows)
            self.client.claim(
                is_fine or world.had_trouble(GRACE_SECONDS), f"feed {self.name}: {job_id} is not for them"
            )
            number = int(entry["message"][1:])
            before = self.jobs.get(job_id)
            is_back = before is not None and before[2] > number and job_id not in world.database.set_back_jobs
            self.client.claim(not is_back, f"feed {self.name}: {job_id} goes back to {number}")
            self.jobs[job_id] = entry["epoch"], entry["status"], number, stalled_in(entry)

    def forget(self, job_id: str) -> None:
        """Note that a job is no longer for them; whether that is so now, or was a moment ago."""
        world = self.client.world
        rows = world.database.since(job_id, world.loop.time() - GRACE_SECONDS - conf.SEND_SECONDS)
        was_hidden = any(row is None or not world.allows(self.client.user, row) for row in rows)
        self.client.claim(was_hidden, f"feed {self.name}: {job_id} leaves it, though they may see it")
        del self.jobs[job_id]

    def shows(self, row: Row) -> bool:
        user = self.client.user
        return self.client.world.allows(user, row) and (self.name == "all" or row.owner_id == user.pk)

    def missing_truth(self) -> str:
        if not self.is_answered:
            return f"feed {self.name} is not answered"
        world, user = self.client.world, self.client.user
        for row in world.database.rows.values():
            changed_at = (row.status_changed_at - BEGIN).total_seconds()
            begin = max(changed_at, self.asked_at, world.loop.time() - NEWS_SECONDS)
            always = all(each is not None and self.shows(each) for each in world.database.since(row.job_id, begin))
            shown = self.jobs.get(row.job_id)
            if (
                always
                and (user.pk, row.job_id) not in world.ever_raised
                and (shown is None or (shown[0], shown[1], shown[3]) != (row.epoch, row.status, row.stalled))
            ):
                is_now = f"{row.epoch} {row.status!r} {row.stalled}"
                return f"feed {self.name} shows {row.job_id} as {shown}, but it is {is_now}"
        return next((f"feed {self.name} still shows {job_id}" for job_id in self.jobs if self._is_hidden(job_id)), "")

    def _is_hidden(self, job_id: str) -> bool:
        """Tell whether a job that is there has been hidden from the client for a while."""
        world, user = self.client.world, self.client.user
        rows = world.database.since(job_id, world.loop.time() - NEWS_SECONDS)
        return not any(row is None or world.allows(user, row) for row in rows)
