from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0011_parent"),
    ]

    # Apart from the new columns, whose lock would keep all others waiting until the index is built.
    operations = [
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                condition=models.Q(("parent__isnull", False)), fields=["parent"], name="job_parent"
            ),
        ),
    ]
