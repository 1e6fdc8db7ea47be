"""Rows by very many keys, in one query."""

import json
from collections.abc import Collection
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, BigAutoField, CharField, F, Lookup
from django.db.models.lookups import In
from django.db.models.sql.compiler import SQLCompiler

STORED_AS_THEY_ARE: dict[type, type] = {CharField: str, AutoField: int, BigAutoField: int}


class Among(Lookup):
    """What ``pk__in`` says, with one parameter however many keys there are, where the database can.

    With one for each, SQLite takes a query for 499 of them, and to prepare thousands takes longer than to find them; so
    does an array of psycopg's, which goes through its items.
    """

    prepare_rhs = False  # but as a whole, below

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        """Return the condition for SQLite."""
        keys = self._keys(connection)
        if not {*map(type, keys)} <= {int, str}:  # what JSON has as SQLite does
            return self.as_sql(compiler, connection)
        column, params = self.process_lhs(compiler, connection)
        return f"{column} IN (SELECT value FROM json_each(%s))", [*params, json.dumps(keys)]  # noqa: S608 - a column

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        """Return the condition for PostgreSQL."""
        column, params = self.process_lhs(compiler, connection)
        keys = self._keys(connection)
        kinds = {*map(type, keys)}
        if kinds not in ({int}, {str}):
            return f"{column} = ANY(%s)", [*params, keys]
        value = "value" if kinds == {str} else "CAST(value AS bigint)"
        stored = f"SELECT {value} FROM json_array_elements_text(CAST(%s AS json)) AS value"  # noqa: S608 - of ours
        return f"{column} IN ({stored})", [*params, json.dumps(keys)]

    def as_sql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper) -> tuple[str, Any]:
        """Return the condition for any other database."""
        return In(self.lhs, self.rhs).as_sql(compiler, connection)

    def _keys(self, connection: BaseDatabaseWrapper) -> list[Any]:
        field = self.lhs.output_field
        if {*map(type, self.rhs)} == {STORED_AS_THEY_ARE.get(type(field))}:
            return list(self.rhs)  # thousands, which each are what they were
        return [field.get_db_prep_value(key, connection) for key in self.rhs]


def among(keys: Collection[Any]) -> Among:
    """Return the condition that the primary key is one of these."""
    return Among(F("pk"), list(keys))
