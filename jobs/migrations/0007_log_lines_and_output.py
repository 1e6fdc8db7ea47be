from django.apps import apps
from django.db import migrations, models

from ._operations import AddColumn

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0006_what_has_ended"),
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
                    ("output", "Output"),
                    ("edit", "Edit"),
                ],
                max_length=8,
            ),
        ),
        AddColumn(
            model_name="processingjob",
            name="output_bytes",
            field=models.BigIntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="How much it has put out, also past what is kept.",
            ),
        ),
        migrations.AddIndex(
            model_name="jobevent",
            index=models.Index(
                fields=["job", "seq"], name="event_log_lines", condition=models.Q(("kind", "log"))
            ),
        ),
        migrations.AddIndex(
            model_name="jobevent",
            index=models.Index(
                fields=["job", "seq"], name="event_output", condition=models.Q(("kind", "output"))
            ),
        ),
    ]
