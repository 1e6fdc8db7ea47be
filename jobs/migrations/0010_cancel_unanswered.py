from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0009_kind_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="processingjob",
            name="cancel_unanswered_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When it was recorded that the worker had not answered that in time.",
                null=True,
            ),
        ),
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                condition=models.Q(
                    ("cancel_requested_at__isnull", False),
                    ("cancel_unanswered_at__isnull", True),
                    ("finished_at__isnull", True),
                ),
                fields=["cancel_requested_at"],
                name="job_cancel_requested",
            ),
        ),
    ]
