"""In the admin: what may be done to jobs, in the name of who is signed in, and the list of who did what."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from .admin_tables import moment, table
from .lifecycle import ProcessingJobLifecycle
from .models import JobAction
from .states import Status

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[JobAction]
else:
    ModelAdmin = admin.ModelAdmin

Act = Callable[[ProcessingJobLifecycle, Any], str]  # does something to a job, in a user's name

ACTIONS_SHOWN = 50  # on a job's page, the most recent


@admin.register(JobAction)
class JobActionAdmin(ModelAdmin):
    """Who did what, newest first; the rows of deleted jobs stay. Nobody adds, changes or deletes one."""

    list_display = ("time", "action", "job_id", "seq", "who", "detail")
    list_filter = ("action", "kind", "time")
    search_fields = ("job_id", "actor")
    search_help_text = "A job's id, or who did it: a part is enough."
    readonly_fields = ("time", "action", "job_id", "seq", "who", "user", "detail")
    fields = readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds one by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: JobAction | None = None) -> bool:
        """Nobody changes one."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: JobAction | None = None) -> bool:
        """Nobody deletes one in the admin: whoever did something could take the trace of it away."""
        return False


def table_of_actions(job_id: str) -> SafeString:
    """Return the last actions on a job as a table."""
    actions = list(JobAction.objects.filter(job_id=job_id)[: ACTIONS_SHOWN + 1])
    if not actions:
        return SafeString("-")
    below = "Earlier ones are not shown." if actions[ACTIONS_SHOWN:] else ""
    return table(("Time", "Who", "What", "Seq", "Detail"), map(_cells, actions[:ACTIONS_SHOWN]), below)


def _cells(action: JobAction) -> tuple[Any, ...]:
    return moment(action.time), action.who, action.get_action_display(), action.seq, action.detail


# What may be done: each says what came of it


def cancel(lifecycle: ProcessingJobLifecycle, user: Any) -> str:
    """Ask for a job to be cancelled."""
    lifecycle.request_cancel(by=user)
    if lifecycle.job.status == Status.CANCELLED:
        return "cancelled."
    return "asked to cancel; its worker stops at its next report."


def retry(lifecycle: ProcessingJobLifecycle, user: Any) -> str:
    """Queue a job again."""
    lifecycle.retry(by=user)
    return f"queued again, as attempt {lifecycle.job.attempt}."


def delete(lifecycle: ProcessingJobLifecycle, user: Any) -> str:
    """Delete a job."""
    lifecycle.delete(by=user)
    return "deleted."


def _edit(said: str, **wanted: Any) -> Act:
    def edit(lifecycle: ProcessingJobLifecycle, user: Any) -> str:
        lifecycle.edit(by=user, **wanted)
        return said

    return edit


make_public = _edit("public: anyone may watch it.", public=True)
make_private = _edit("private: only its owner and the staff may watch it.", public=False)
keep = _edit("kept for good.", keep=True)
let_go = _edit("goes when it is old, like others.", keep=False)
