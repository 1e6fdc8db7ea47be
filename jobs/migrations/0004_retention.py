from django.apps import apps
from django.db import migrations, models

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0003_log_floor"),
    ]

    operations = [
        migrations.CreateModel(
            name="Lease",
            fields=[
                ("name", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("holder", models.CharField(max_length=32)),
                ("until", models.DateTimeField()),
            ],
        ),
        migrations.AddField(
            model_name="processingjob",
            name="deleted_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="processingjob",
            name="keep",
            field=models.BooleanField(
                # The database's own as well: processes of the version before go on making jobs meanwhile.
                default=False,
                db_default=False,
                help_text="Never pruned, however old it is.",
            ),
        ),
        migrations.RemoveIndex(model_name="processingjob", name="job_created"),
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                fields=["-created_at"], name="job_created", condition=models.Q(("deleted_at__isnull", True))
            ),
        ),
        # Made anew, since of two indexes that would do SQLite takes the younger.
        migrations.RemoveIndex(model_name="processingjob", name="job_public_created"),
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                fields=["-created_at"], name="job_public_created", condition=models.Q(("public", True))
            ),
        ),
        migrations.AddIndex(
            model_name="processingjob",
            index=models.Index(
                fields=["deleted_at"], name="job_deleted", condition=models.Q(("deleted_at__isnull", False))
            ),
        ),
    ]
