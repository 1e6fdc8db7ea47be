import django.db.models.deletion
from django.apps import apps
from django.db import migrations, models

from ._operations import AddColumn

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0010_cancel_unanswered"),
    ]

    operations = [
        migrations.AddField(
            model_name="processingjob",
            name="parent",
            field=models.ForeignKey(
                blank=True,
                db_constraint=False,
                db_index=False,
                editable=False,
                null=True,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="children",
                to=f"{LABEL}.processingjob",
            ),
        ),
        AddColumn(
            model_name="processingjob",
            name="weight",
            field=models.FloatField(
                db_default=1.0,
                default=1.0,
                editable=False,
                help_text="Its share of its parent, beside the others of that.",
            ),
        ),
    ]
