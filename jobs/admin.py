"""The admin: shows jobs and their log, edits nothing by hand; all that it does goes through the lifecycle."""

import json
import logging
from typing import Any

from django.contrib import admin, messages
from django.contrib.auth import get_user_model
from django.db import IntegrityError
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from . import action_admin
from .access import policy
from .admin_family import link_to_children, link_to_parent
from .admin_filters import KindFilter
from .admin_form import AddJobForm
from .admin_tables import moment, table
from .database import UNAVAILABLE
from .exceptions import JobError
from .ids import is_job_id
from .lifecycle import ProcessingJobLifecycle
from .models import JobEvent, ProcessingJob
from .recovery.worker_admin import worker_in_words
from .retention.chart import course_chart, earlier_charts
from .retention.deletion import UNREAD
from .retention.retention_admin import RetentionAdmin
from .states import Status

logger = logging.getLogger(__name__)

AWAY = "the database does not answer now. What follows in the list was left as it was; try again."
EVENTS_SHOWN = 100  # of a job's log, the most recent
EMPTY_BAR = SafeString('<span class="job-bar"><progress max="100" value="0" aria-label="Progress"></progress></span>')
KEPT_BELOW_FLOOR = "Of the first {:,}, only changes of status and stage, log lines, edits and a few ticks are kept."
RESULTS_SHOWN = 50  # messages of one action; the jobs beyond are counted


@admin.register(ProcessingJob)
class ProcessingJobAdmin(RetentionAdmin):
    """Jobs, newest first, and the log of each."""

    form = AddJobForm
    raw_id_fields = ("owner",)
    list_display = ("__str__", "status_badge", "bar", "owner", "public", "created_at", "started_at", "finished_at")
    list_filter = ("status", KindFilter, "public", "keep", "created_at")
    list_select_related = ("owner",)
    search_fields = ("id", "name", "kind", "parent__id", f"owner__{get_user_model().USERNAME_FIELD}")
    readonly_fields = (
        "status_badge",
        "bar",
        "plan_json",
        "parent_job",
        "child_jobs",
        "worker_state",
        "result_json",
        "metadata_json",
        "action_log",
        "course",
        "event_log",
    )
    actions = (
        "cancel_jobs",
        "retry_jobs",
        "make_jobs_public",
        "make_jobs_private",
        "keep_jobs",
        "let_go",
        "delete_selected",
    )

    add_fieldsets = ((None, {"fields": AddJobForm.Meta.fields}),)
    fieldsets = (
        (None, {"fields": ("id", "name", "owner", "public", "keep", "status_badge", "bar", "message", "attempt")}),
        ("Work", {"fields": ("kind", "plan_json", "size", "parent_job", "weight", "child_jobs", "worker_state")}),
        ("Outcome", {"fields": ("error", "result_json", "metadata_json")}),
        (
            "Times",
            {
                "fields": (
                    "created_at",
                    "queued_at",
                    "started_at",
                    "finished_at",
                    "cancel_requested_at",
                    "cancel_unanswered_at",
                    "status_changed_at",
                    "updated_at",
                )
            },
        ),
        ("Log", {"fields": ("action_log", "course", "event_log")}),
    )

    class Media:
        css = {"all": ("jobs/admin.css",)}  # noqa: RUF012  # Django's way to name it

    # Who may do what

    def get_queryset(self, request: HttpRequest) -> "QuerySet[ProcessingJob]":
        """Return the jobs that the user may see, by the one policy.

        Their JSON is read where it is shown: what an import has stored there may be more than Python takes.
        """
        return policy().visible(request.user, super().get_queryset(request)).defer(*UNREAD)

    def has_change_permission(self, request: HttpRequest, obj: ProcessingJob | None = None) -> bool:
        """Nobody edits a job by hand."""
        return False

    def has_view_permission(self, request: HttpRequest, obj: ProcessingJob | None = None) -> bool:
        """Whoever may view or control jobs; which of them, the policy says."""
        return super().has_view_permission(request, obj) or self.has_control_permission(request)

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Return whether the user may cancel and retry jobs."""
        return super().has_change_permission(request)

    # Adding

    def get_fieldsets(self, request: HttpRequest, obj: ProcessingJob | None = None) -> Any:
        """Return what a new job takes, or what an existing one shows."""
        return self.fieldsets if obj else self.add_fieldsets

    def save_model(self, request: HttpRequest, obj: ProcessingJob, form: Any, change: bool) -> None:
        """Save nothing: the form has made the job."""

    # Showing

    def view_on_site(self, obj: ProcessingJob) -> str | None:
        """Return the address of the live page, which a job of a malformed id has not."""
        url = getattr(obj, "get_absolute_url", None)  # which a project adds in ABSOLUTE_URL_OVERRIDES
        return url() if url and is_job_id(obj.pk) else None

    @admin.display(description="Status", ordering="status")
    def status_badge(self, job: ProcessingJob) -> SafeString:
        """Show the status as a badge."""
        return format_html('<span class="job-status job-status-{}">{}</span>', job.status, job.get_status_display())

    @admin.display(description="Progress", ordering="progress")
    def bar(self, job: ProcessingJob) -> SafeString:
        """Show the progress as a bar, which is in motion while the job runs and the percentage is unknown."""
        percent = _percent(job.progress)
        if not percent:
            if job.status != Status.IN_PROGRESS:
                return EMPTY_BAR
            return format_html('<span class="job-bar"><progress aria-label="{}"></progress></span>', "Progress unknown")
        return format_html(
            '<span class="job-bar"><progress max="100" value="{0}" aria-label="Progress"></progress> {0} %</span>',
            percent,
        )

    @admin.display(description="Plan")
    def plan_json(self, job: ProcessingJob) -> str:
        """Show the stages with their weights."""
        return _in_json(job, "plan")

    @admin.display(description="Parent")
    def parent_job(self, job: ProcessingJob) -> SafeString:
        """Show the id of the job that it is a part of, as a link."""
        return link_to_parent(self, job)

    @admin.display(description="Children")
    def child_jobs(self, job: ProcessingJob) -> SafeString:
        """Link to the list of the jobs that are parts of it."""
        return link_to_children(self, job)

    @admin.display(description="Worker")
    def worker_state(self, job: ProcessingJob) -> str:
        """Say which process runs it, and whether that is lost."""
        return worker_in_words(job)

    @admin.display(description="Result")
    def result_json(self, job: ProcessingJob) -> str:
        """Show the result."""
        return _in_json(job, "result")

    @admin.display(description="Metadata")
    def metadata_json(self, job: ProcessingJob) -> str:
        """Show the metadata."""
        return _in_json(job, "metadata")

    @admin.display(description="Who did what, newest first")
    def action_log(self, job: ProcessingJob) -> SafeString:
        """Show who has cancelled, retried or edited it."""
        return action_admin.table_of_actions(job.pk)

    @admin.display(description="Events, newest first")
    def event_log(self, job: ProcessingJob) -> SafeString:
        """Show the most recent events as a table, and how many came before."""
        events = list(job.events.defer("metadata").order_by("-seq")[:EVENTS_SHOWN])
        # What there ever was, by the last position: to count rows would be to read them all.
        earlier = max(job.seq - len(events), 0)
        words = _counted(earlier, "earlier event is", "earlier events are") if earlier else ""
        if job.floor:
            words += f" {KEPT_BELOW_FLOOR.format(job.floor)}"
        return table(("Seq", "Time", "Kind", "Status", "%", "Message"), map(_cells, events), words)

    @admin.display(description="Progress over time")
    def course(self, job: ProcessingJob) -> SafeString:
        """Show how each attempt went, as far as its course is known."""
        return course_chart(job) + earlier_charts(job) or SafeString("-")

    # Acting

    @admin.action(description="Cancel", permissions=["control"])
    def cancel_jobs(self, request: HttpRequest, queryset: "QuerySet[ProcessingJob]") -> None:
        """Ask for the chosen jobs to be cancelled."""
        self._act(request, queryset, action_admin.cancel)

    @admin.action(description="Retry", permissions=["control"])
    def retry_jobs(self, request: HttpRequest, queryset: "QuerySet[ProcessingJob]") -> None:
        """Queue the chosen jobs again."""
        self._act(request, queryset, action_admin.retry)

    @admin.action(description="Make public", permissions=["control"])
    def make_jobs_public(self, request: HttpRequest, queryset: "QuerySet[ProcessingJob]") -> None:
        """Let anyone watch the chosen jobs."""
        self._act(request, queryset, action_admin.make_public)

    @admin.action(description="Make private", permissions=["control"])
    def make_jobs_private(self, request: HttpRequest, queryset: "QuerySet[ProcessingJob]") -> None:
        """Let nobody but owners and staff watch the chosen jobs."""
        self._act(request, queryset, action_admin.make_private)

    def _act(
        self,
        request: HttpRequest,
        jobs: "QuerySet[ProcessingJob]",
        act: action_admin.Act,
        *,
        logs: bool = True,
    ) -> None:
        """Do something to each job by its lifecycle, in the user's name, and show a message for each."""
        not_shown = 0
        for number, job in enumerate(jobs):
            try:
                # It begins with a word of ours: the admin writes the first letter of a message large, of an id as well.
                outcome = act(ProcessingJobLifecycle(job.pk), request.user)
                level, outcome = messages.SUCCESS, f"Job {str(job)!r}: {outcome}"
                if logs:
                    self.log_change(request, job, outcome)
            except (JobError, IntegrityError) as error:  # the latter, if a table of the host's refers to it
                level, outcome = messages.ERROR, str(error)
            except UNAVAILABLE as error:  # for the others as well, and each try may take long
                logger.warning("Job %s can't be written: %s", job.pk, error)
                self.message_user(request, f"Job {str(job)!r}: {AWAY}", messages.ERROR)
                break
            except Exception as error:  # whatever is wrong with a row, it harms its own job only
                logger.warning("Job %s can't be changed: %r", job.pk, error)
                level, outcome = messages.ERROR, f"Job {str(job)!r}: what is stored of it makes no sense."
            if number < RESULTS_SHOWN:
                self.message_user(request, outcome, level)
            else:
                not_shown += 1
        if not_shown:
            self.message_user(request, f"{not_shown:,} more were asked for; see the list.", messages.INFO)


def _cells(event: JobEvent) -> tuple[Any, ...]:
    status, percent = event.get_status_display(), _percent(event.progress)
    return event.seq, moment(event.timestamp), event.get_kind_display(), status, percent, event.message


def _percent(progress: float | None) -> str:
    """Return a percentage in words, empty where it is unknown or none; 100 is for what is done."""
    if not isinstance(progress, int | float) or not 0 <= progress <= 100:
        return ""
    return f"{progress if progress == 100 else min(progress, 99.99):g}"


def _in_json(job: ProcessingJob, field: str) -> str:
    try:
        value = getattr(job, field)
    except Exception as error:  # whatever Python does not take of it
        return f"It can't be read: {error}"
    return "-" if value is None else json.dumps(value, ensure_ascii=False).encode(errors="backslashreplace").decode()


def _counted(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many} not shown."
