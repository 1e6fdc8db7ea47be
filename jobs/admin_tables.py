"""Tables on a job's page in the admin."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString


def table(columns: Sequence[str], rows: Iterable[tuple[Any, ...]], below: str) -> SafeString:
    """Return a table, and a sentence below it."""
    head = format_html_join("", "<th>{}</th>", ((column,) for column in columns))
    body = format_html_join("", "<tr>" + "<td>{}</td>" * len(columns) + "</tr>", rows)
    shown = '<table class="job-log"><thead><tr>{}</tr></thead><tbody>{}</tbody></table><p>{}</p>'
    return format_html(shown, head, body, below)


def moment(at: datetime) -> str:
    """Return a time, to the millisecond."""
    return timezone.localtime(at).isoformat(sep=" ", timespec="milliseconds")
