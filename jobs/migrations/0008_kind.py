from django.apps import apps
from django.db import migrations, models

from ._operations import AddColumn

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0007_log_lines_and_output"),
    ]

    # With defaults of the database's, since a worker of the version before may still make jobs.
    operations = [
        AddColumn(
            model_name="processingjob",
            name="kind",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What sort of work it is, such as the task's name.",
                max_length=100,
            ),
        ),
        AddColumn(
            model_name="processingjob",
            name="plan",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                editable=False,
                help_text="Its stages, each with its weight.",
            ),
        ),
        migrations.AddField(
            model_name="processingjob",
            name="size",
            field=models.FloatField(
                blank=True, help_text="How much there is to do, as told at the start.", null=True
            ),
        ),
    ]
