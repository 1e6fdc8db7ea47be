from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0006_what_has_ended"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="jobevent",
            index=models.Index(
                fields=["job", "seq"], name="event_log_lines", condition=models.Q(("kind", "log"))
            ),
        ),
    ]
