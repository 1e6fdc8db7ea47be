from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0001_initial"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="jobevent",
            options={"ordering": ["job_id", "seq"]},
        ),
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                fields=["-created_at"], name="job_public_created", condition=models.Q(("public", True))
            ),
        ),
    ]
