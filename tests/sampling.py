"""Which of a test's parameters are quick: `make test` is to stay short, and CI runs the slow ones as well."""

from collections.abc import Iterable, Mapping
from typing import Any

import pytest


def first_quick(values: Iterable[Any], quick: int = 1) -> list[Any]:
    """Return parameters of which all but the first are slow: where each takes processes or pages of its own.

    Args:
        values: The parameters; those of a dictionary have its keys as their names.
        quick: How many are the first.

    """
    named = values.items() if isinstance(values, Mapping) else ((None, value) for value in values)
    return [
        pytest.param(value, id=name, marks=[pytest.mark.slow] if number >= quick else [])
        for number, (name, value) in enumerate(named)
    ]
