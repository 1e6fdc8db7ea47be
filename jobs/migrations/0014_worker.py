import django.db.models.deletion
from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0013_time_left"),
    ]

    operations = [
        migrations.CreateModel(
            name="Worker",
            fields=[
                ("id", models.CharField(max_length=32, primary_key=True, serialize=False)),
                (
                    "name",
                    models.CharField(blank=True, help_text="Its host and the id of its process.", max_length=255),
                ),
                ("until", models.DateTimeField()),
                (
                    "late_since",
                    models.DateTimeField(
                        help_text="Since then, each look has found it past that moment.", null=True
                    ),
                ),
                ("late_at", models.DateTimeField(help_text="The last look that has.", null=True)),
                (
                    "is_settled",
                    models.BooleanField(
                        default=False,
                        help_text="It is lost, and all is done that was to be done about its jobs.",
                    ),
                ),
            ],
        ),
        migrations.AddField(
            model_name="processingjob",
            name="worker",
            field=models.ForeignKey(
                db_constraint=False,
                db_index=False,
                editable=False,
                help_text="Whose lease its run holds; none of a job that is written by its lifecycle alone.",
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="jobs",
                to=f"{LABEL}.worker",
            ),
        ),
    ]
