from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0012_parent_index"),
    ]

    operations = [
        migrations.AddField(
            model_name="processingjob",
            name="usual",
            field=models.JSONField(
                editable=False,
                help_text="What earlier runs of its kind took, as known when this one started.",
                null=True,
            ),
        ),
        migrations.CreateModel(
            name="KindRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=100)),
                ("finished_at", models.DateTimeField(db_index=True)),
                ("seconds", models.FloatField()),
                ("unit", models.CharField(blank=True, help_text="What was counted.", max_length=200)),
                ("size", models.FloatField(help_text="How much there was to do, as told at the start.", null=True)),
                ("course", models.TextField(help_text="Its stages, and how each went (JSON).")),
            ],
            options={
                "indexes": [models.Index(fields=["kind", "-id"], name="kind_run_newest")],
            },
        ),
    ]
