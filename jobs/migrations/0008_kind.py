from django.apps import apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class AddColumn(migrations.AddField):
    """Adds a field with a constant default of the database's, on SQLite too without writing the table anew.

    Django copies all rows there for a column that may not be null, though SQLite can give one to the rows there are.
    """

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            BaseDatabaseSchemaEditor.add_field(schema_editor, model, model._meta.get_field(self.name))


class Migration(migrations.Migration):

    dependencies = [
        (LABEL, "0006_what_has_ended"),
    ]

    # With defaults of the database's, since a worker of the version before may still make jobs.
    operations = [
        AddColumn(
            model_name="processingjob",
            name="kind",
            field=models.CharField(
                blank=True,
                db_default="",
                default="",
                help_text="What sort of work it is, such as the task's name.",
                max_length=100,
            ),
        ),
        AddColumn(
            model_name="processingjob",
            name="plan",
            field=models.JSONField(
                blank=True,
                db_default=[],
                default=list,
                editable=False,
                help_text="Its stages, each with its weight.",
            ),
        ),
        migrations.AddField(
            model_name="processingjob",
            name="size",
            field=models.FloatField(
                blank=True, help_text="How much there is to do, as told at the start.", null=True
            ),
        ),
    ]
