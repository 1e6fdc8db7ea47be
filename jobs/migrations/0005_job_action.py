import django.db.models.deletion
from django.apps import apps
from django.conf import settings
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
        (LABEL, "0004_retention"),
    ]

    operations = [
        migrations.AlterField(
            model_name="jobevent",
            name="kind",
            field=models.CharField(
                choices=[
                    ("status", "Status"),
                    ("stage", "Stage"),
                    ("tick", "Tick"),
                    ("log", "Log"),
                    ("edit", "Edit"),
                ],
                max_length=8,
            ),
        ),
        migrations.CreateModel(
            name="JobAction",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("time", models.DateTimeField()),
                (
                    "action",
                    models.CharField(
                        choices=[
                            ("cancel", "Cancel"),
                            ("retry", "Retry"),
                            ("edit", "Edit"),
                            ("delete", "Delete"),
                            ("issue", "Issue"),
                            ("revoke", "Revoke"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("user", "User"),
                            ("token", "Token"),
                            ("command", "Command"),
                            ("system", "System"),
                        ],
                        max_length=8,
                        verbose_name="kind of actor",
                    ),
                ),
                ("actor", models.CharField(blank=True, max_length=255)),
                ("job_id", models.CharField(max_length=64, verbose_name="job")),
                (
                    "seq",
                    models.BigIntegerField(
                        help_text="The event that it made; of a deletion, the last that the job had; of a token, none.",
                        null=True,
                    ),
                ),
                ("detail", models.TextField(blank=True)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "ordering": ["-time", "-id"],
                "indexes": [
                    models.Index(fields=["-time", "-id"], name="action_time"),
                    models.Index(fields=["job_id", "-time"], name="action_job"),
                ],
            },
        ),
    ]
