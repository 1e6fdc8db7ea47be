import django.db.models.deletion
from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0002_public_index"),
    ]

    operations = [
        # With defaults of the database's, since a worker of the version before may still make jobs.
        migrations.AddField(
            model_name="processingjob",
            name="attempt_seq",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="Which event began this attempt; 0 for the first attempt.",
            ),
        ),
        migrations.AddField(
            model_name="processingjob",
            name="floor",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="Every event after this one is kept; of earlier ones, some.",
            ),
        ),
        migrations.AddField(
            model_name="processingjob",
            name="compact_after",
            field=models.DateTimeField(
                editable=False, help_text="When it ended, if its log is still to be compacted.", null=True
            ),
        ),
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                condition=models.Q(("compact_after__isnull", False)),
                fields=["compact_after"],
                name="job_compact_after",
            ),
        ),
        migrations.CreateModel(
            name="JobRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("attempt", models.PositiveIntegerField()),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("pending", "Pending"),
                            ("queued", "Queued"),
                            ("in_progress", "In progress"),
                            ("completed", "Completed"),
                            ("failed", "Failed"),
                            ("cancelled", "Cancelled"),
                        ],
                        help_text="Empty if it was given up for another attempt.",
                        max_length=16,
                    ),
                ),
                ("started_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                (
                    "curve",
                    models.JSONField(default=list, help_text="Points: seconds since its start, and percent."),
                ),
                (
                    "job",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="runs",
                        to=f"{LABEL}.processingjob",
                    ),
                ),
            ],
            options={
                "ordering": ["job_id", "attempt"],
            },
        ),
        migrations.AddConstraint(
            model_name="jobrun",
            constraint=models.UniqueConstraint(fields=("job", "attempt"), name="run_of_attempt"),
        ),
    ]
