"""What is stored of a job: its present state and the log of its events."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import models
from django.utils import timezone

from . import validation
from .events import Event
from .exceptions import InvalidValue
from .ids import new_epoch, new_job_id
from .leases import Worker
from .recovery import kinds
from .states import TERMINAL, ActionKind, ActorKind, EventKind, Status

STATUS_CHOICES = [(status.value, status.label) for status in Status]
KIND_CHOICES = [(kind.value, kind.value.capitalize()) for kind in EventKind]
ACTION_CHOICES = [(kind.value, kind.value.capitalize()) for kind in ActionKind]
ACTOR_CHOICES = [(kind.value, kind.value.capitalize()) for kind in ActorKind]


# What anybody may save; the rest is the lifecycle's.
EDITABLE = frozenset({"name", "owner", "owner_id", "public", "keep"})


class ProcessingJobQuerySet(models.QuerySet["ProcessingJob"]):
    """Jobs, whose bulk updates leave alone what only the lifecycle may write."""

    def bulk_update(self, objs: Iterable["ProcessingJob"], fields: Iterable[str], *args: Any, **options: Any) -> int:
        """Update what anybody may save.

        Raises:
            InvalidValue: Another field is named.

        """
        return super().bulk_update(objs, _editable(fields), *args, **options)


def _editable(fields: Iterable[str]) -> list[str]:
    names = list(fields)
    if owned := set(names) - EDITABLE:
        raise InvalidValue(
            f"Only jobs.lifecycle writes a job's {min(owned)!r}; save may write name, owner, public, keep."
        )
    return names


class PresentJobs(models.Manager["ProcessingJob"]):
    """The jobs that there are: one that is being deleted is none of them, whoever asks."""

    def get_queryset(self) -> "models.QuerySet[ProcessingJob]":
        """Leave out what is marked as deleted."""
        return super().get_queryset().filter(deleted_at=None)


class ProcessingJob(models.Model):
    """The present state of a background job. Only ``jobs.lifecycle`` writes it, but for what is `EDITABLE`."""

    id = models.CharField(primary_key=True, max_length=64, default=new_job_id)
    name = models.CharField(max_length=validation.MAX_NAME, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="processing_jobs"
    )
    public = models.BooleanField(default=False, help_text="Anyone may watch it, without signing in.")
    keep = models.BooleanField(default=False, db_default=False, help_text="Never pruned, however old it is.")
    kind = models.CharField(
        max_length=validation.MAX_KIND,
        blank=True,
        default="",
        db_default="",
        help_text="What sort of work it is, such as the task's name.",
    )
    plan = models.JSONField(
        default=list, db_default=[], blank=True, editable=False, help_text="Its stages, each with its weight."
    )
    # Without a constraint in the database: a parent that is deleted leaves its children as they are.
    parent = models.ForeignKey(
        "self",
        models.DO_NOTHING,
        null=True,
        blank=True,
        editable=False,
        related_name="children",
        db_constraint=False,
        db_index=False,
    )
    weight = models.FloatField(
        default=1.0, db_default=1.0, editable=False, help_text="Its share of its parent, beside the others of that."
    )
    size = models.FloatField(null=True, blank=True, help_text="How much there is to do, as told at the start.")
    usual = models.JSONField(
        null=True, editable=False, help_text="What earlier runs of its kind took, as known when this one started."
    )

    status = models.CharField(max_length=16, choices=STATUS_CHOICES, default=Status.PENDING)
    progress = models.FloatField(null=True, default=0.0, help_text="Percent; unknown while indeterminate.")
    message = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    error = models.TextField(blank=True)
    result = models.JSONField(null=True, blank=True)
    attempt = models.PositiveIntegerField(default=1, help_text="Which run of the job this is, from 1.")

    epoch = models.CharField(max_length=16, default=new_epoch, editable=False)
    seq = models.BigIntegerField(default=0, editable=False)
    attempt_seq = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="Which event began this attempt; 0 for the first attempt."
    )
    # No index may name `floor`, nor anything else that is written while a job runs, not even in a condition:
    # PostgreSQL then makes a new index entry for each report (its updates are not HOT any more).
    floor = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="Every event after this one is kept; of earlier ones, some."
    )
    # Without a constraint in the database: a row that is lost keeps no job from being written, and is made again.
    worker = models.ForeignKey(
        Worker,
        models.DO_NOTHING,
        null=True,
        editable=False,
        related_name="jobs",
        db_constraint=False,
        db_index=False,
        help_text="Whose lease its run holds; none of a job that is written by its lifecycle alone.",
    )
    output_bytes = models.BigIntegerField(
        default=0, db_default=0, editable=False, help_text="How much it has put out, also past what is kept."
    )
    compact_after = models.DateTimeField(
        null=True, editable=False, help_text="When it ended, if its log is still to be compacted."
    )

    created_at = models.DateTimeField(default=timezone.now)
    queued_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_unanswered_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was recorded that the worker had not answered that in time."
    )
    status_changed_at = models.DateTimeField(default=timezone.now, db_index=True)
    updated_at = models.DateTimeField(default=timezone.now)
    deleted_at = models.DateTimeField(
        null=True, editable=False
    )  # since then it is gone, but for what is left of its log

    objects = PresentJobs.from_queryset(ProcessingJobQuerySet)()
    stored = ProcessingJobQuerySet.as_manager()  # every row that is there, those of deleted jobs as well

    class Meta:
        ordering = ["-created_at"]
        indexes = [
            # Counts the jobs as well: no table is read for that.
            models.Index(fields=["-created_at"], name="job_created", condition=models.Q(deleted_at__isnull=True)),
            models.Index(fields=["owner", "-created_at"], name="job_owner_created"),
            models.Index(fields=["-created_at"], name="job_public_created", condition=models.Q(public=True)),
            models.Index(
                fields=["compact_after"], name="job_compact_after", condition=models.Q(compact_after__isnull=False)
            ),
            models.Index(fields=["finished_at"], name="job_finished", condition=models.Q(finished_at__isnull=False)),
            models.Index(fields=["deleted_at"], name="job_deleted", condition=models.Q(deleted_at__isnull=False)),
            # Those of which that is still to be recorded: few, whatever else there is.
            models.Index(
                fields=["cancel_requested_at"],
                name="job_cancel_requested",
                condition=models.Q(
                    cancel_requested_at__isnull=False, cancel_unanswered_at__isnull=True, finished_at__isnull=True
                ),
            ),
            models.Index(fields=["parent"], name="job_parent", condition=models.Q(parent__isnull=False)),
            # Of what runs now, since an end leaves it: no more than that is looked at for workers that are lost.
            models.Index(fields=["worker"], name="job_worker", condition=models.Q(worker__isnull=False)),
            # The last runs of a kind that ended so, and which kinds there are.
            models.Index(fields=["kind", "status", "-finished_at"], name="job_kind"),
        ]

    def __str__(self) -> str:
        return self.name or self.id

    def save(self, *args: Any, **options: Any) -> None:
        """Save what is `EDITABLE`: an object that was read a while ago knows nothing of the reports since.

        Raises:
            InvalidValue: ``update_fields`` names another field; but for times, which `update_or_create` adds to any.

        """
        if not self._state.adding and not options.get("force_insert"):
            given = options.get("update_fields")
            times = {field.name for field in self._meta.fields if isinstance(field, models.DateTimeField)}
            options["update_fields"] = _editable(
                {"name", "owner", "public", "keep"} if given is None else set(given) - times
            )
        super().save(*args, **options)

    @property
    def is_finished(self) -> bool:
        """Whether the job has ended, well or not."""
        return self.status in TERMINAL

    @property
    def max_silence(self) -> float | None:
        """The seconds without a report that are usual for its kind, as `JOBS_KINDS` has them; more is worth a word."""
        return kinds.options_of(self.kind).max_silence


class JobEvent(models.Model):
    """One event of a job's log: the truth that every watcher is shown."""

    job = models.ForeignKey(ProcessingJob, models.CASCADE, related_name="events", db_index=False)
    seq = models.BigIntegerField()
    kind = models.CharField(max_length=8, choices=KIND_CHOICES)
    status = models.CharField(max_length=16, choices=STATUS_CHOICES)
    progress = models.FloatField(null=True)
    message = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    timestamp = models.DateTimeField()

    class Meta:
        ordering = ["job_id", "seq"]  # by the job itself, rather than by what jobs are ordered by
        constraints = [models.UniqueConstraint(fields=["job", "seq"], name="event_position")]
        # They find the last lines and output among a million ticks, which have no entry in them.
        indexes = [
            models.Index(fields=["job", "seq"], name="event_log_lines", condition=models.Q(kind=EventKind.LOG.value)),
            models.Index(fields=["job", "seq"], name="event_output", condition=models.Q(kind=EventKind.OUTPUT.value)),
        ]

    def __str__(self) -> str:
        return f"{self.job_id}#{self.seq} {self.kind}"

    def as_event(self, epoch: str) -> Event:
        """Return the event as watchers get it, within the stream ``epoch``."""
        return Event(
            job_id=self.job_id,
            epoch=epoch,
            seq=self.seq,
            kind=EventKind(self.kind),
            status=self.status,
            progress=self.progress,
            message=self.message,
            metadata=self.metadata,
            timestamp=self.timestamp,
        )


class JobRun(models.Model):
    """How one attempt of a job went, in a few points: what is left of its ticks once its log was compacted."""

    job = models.ForeignKey(ProcessingJob, models.CASCADE, related_name="runs", db_index=False)
    attempt = models.PositiveIntegerField()
    outcome = models.CharField(
        max_length=16, choices=STATUS_CHOICES, blank=True, help_text="Empty if it was given up for another attempt."
    )
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    curve = models.JSONField(default=list, help_text="Points: seconds since its start, and percent.")

    class Meta:
        ordering = ["job_id", "attempt"]
        constraints = [models.UniqueConstraint(fields=["job", "attempt"], name="run_of_attempt")]

    def __str__(self) -> str:
        return f"{self.job_id}, attempt {self.attempt}"


class KindRun(models.Model):
    """What a successful run of a kind took, for those that come after. It outlives the job."""

    kind = models.CharField(max_length=validation.MAX_KIND)
    finished_at = models.DateTimeField(db_index=True)
    seconds = models.FloatField()
    unit = models.CharField(max_length=validation.MAX_STAGE, blank=True, help_text="What was counted.")
    size = models.FloatField(null=True, help_text="How much there was to do, as told at the start.")
    course = models.TextField(help_text="Its stages, and how each went (JSON).")

    class Meta:
        indexes = [models.Index(fields=["kind", "-id"], name="kind_run_newest")]

    def __str__(self) -> str:
        return f"{self.kind}: {self.seconds:.1f} s"


class JobAction(models.Model):
    """What somebody did to a job, or to a token. It outlives the job, and by the actor's name the user as well."""

    time = models.DateTimeField()
    action = models.CharField(max_length=8, choices=ACTION_CHOICES)
    kind = models.CharField("kind of actor", max_length=8, choices=ACTOR_CHOICES)
    actor = models.CharField(max_length=validation.MAX_ACTOR, blank=True)
    # Without a constraint in the database: what is kept of a change must never be why it can't be made.
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", db_constraint=False
    )
    job_id = models.CharField("job", max_length=64)
    seq = models.BigIntegerField(
        null=True, help_text="The event that it made; of a deletion, the last that the job had; of a token, none."
    )
    detail = models.TextField(blank=True)

    class Meta:
        ordering = ["-time", "-id"]
        indexes = [
            models.Index(fields=["-time", "-id"], name="action_time"),
            models.Index(fields=["job_id", "-time"], name="action_job"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.job_id} by {self.who}"

    @property
    def who(self) -> str:
        """The actor in words."""
        return f"{self.kind} {self.actor}".rstrip()
