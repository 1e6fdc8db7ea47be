from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0014_worker"),
    ]

    # Apart from the new column, whose lock would keep all others waiting until the index is built.
    operations = [
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                condition=models.Q(("worker__isnull", False)), fields=["worker"], name="job_worker"
            ),
        ),
    ]
