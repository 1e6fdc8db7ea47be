import django.db.models.deletion
from django.apps import apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

LABEL = apps.get_containing_app_config(__name__).label  # of the app, wherever it lives


class AddColumn(migrations.AddField):
    """Adds a field with a constant default of the database's, on SQLite too without writing the table anew."""

    def database_forwards(self, app_label, schema_editor, from_state, to_state):
        model = to_state.apps.get_model(app_label, self.model_name)
        if self.allow_migrate_model(schema_editor.connection.alias, model):
            BaseDatabaseSchemaEditor.add_field(schema_editor, model, model._meta.get_field(self.name))


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
