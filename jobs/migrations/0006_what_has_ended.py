from django.apps import apps
from django.db import migrations, models
from django.db.models import F, Max, OuterRef, Subquery

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives
ENDED = ["completed", "failed", "cancelled"]
SMALL = 200  # events that a log may have to be left as it is


def mark_what_ended(apps, schema_editor):
    """Have the logs of ended jobs compacted as well: one pass over the jobs, which writes those with long logs only."""
    alias = schema_editor.connection.alias
    jobs = apps.get_model(LABEL, "ProcessingJob").objects.using(alias).filter(seq__gt=SMALL, floor=0)
    jobs.filter(status__in=ENDED).update(compact_after=F("status_changed_at"))
    events = apps.get_model(LABEL, "JobEvent").objects.using(alias)
    began = events.filter(job_id=OuterRef("pk"), kind="status", status="queued").order_by().values("job_id")
    jobs = jobs.filter(attempt__gt=1, attempt_seq=0, events__kind="status", events__status="queued")
    for job_id in list(jobs.values_list("pk", flat=True).distinct()):
        apps.get_model(LABEL, "ProcessingJob").objects.using(alias).filter(pk=job_id).update(
            attempt_seq=Subquery(began.annotate(last=Max("seq")).values("last"))
        )


def finish_deletions(apps, schema_editor):
    """On the way back: without their mark, jobs that are being deleted would be there again."""
    alias = schema_editor.connection.alias
    for name in "JobEvent", "JobRun", "ProcessingJob":
        mark = "deleted_at" if name == "ProcessingJob" else "job__deleted_at"
        apps.get_model(LABEL, name).objects.using(alias).filter(**{f"{mark}__isnull": False})._raw_delete(alias)


def say_when_it_ended(apps, schema_editor):
    """Give ended jobs of an import, which may have none, the time by which they are pruned."""
    jobs = apps.get_model(LABEL, "ProcessingJob").objects.using(schema_editor.connection.alias)
    jobs.filter(status__in=ENDED, finished_at=None).update(finished_at=F("status_changed_at"))


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0005_job_action"),
    ]

    # Apart from the changes of the tables, whose locks would keep all others waiting until the end of this.
    operations = [
        migrations.RunPython(mark_what_ended, finish_deletions),
        migrations.RunPython(say_when_it_ended, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                fields=["finished_at"], name="job_finished", condition=models.Q(("finished_at__isnull", False))
            ),
        ),
    ]
