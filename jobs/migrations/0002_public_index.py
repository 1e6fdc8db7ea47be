from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("jobs", "0001_initial"),
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
