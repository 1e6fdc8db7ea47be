"""What the URL of a stream asks for: jobs, positions, log lines, output."""

from typing import Any
from urllib.parse import parse_qs

from ...conf import conf
from ...protocol.codes import ErrorCode
from ...protocol.commands import Subscribe, invalid
from ...protocol.event_ids import positions_of
from ...protocol.exceptions import Refused

FIELDS = 1_000  # of a query, at most


def wanted(scope: dict[str, Any], last_event_id: str | None) -> list[Subscribe]:
    """Return the subscriptions that a request asks for, in the order of its URL.

    Args:
        scope: The request; the job of its path, if that names one, is the only one.
        last_event_id: The header of a client that comes back; it wins over the query.

    Raises:
        Refused: A part is malformed, or there are too many jobs.

    """
    query = _query(scope)
    job_id = scope["url_route"]["kwargs"].get("job_id")
    job_ids = query.get("job", []) if job_id is None else [job_id]
    if not job_ids or len(set(job_ids)) != len(job_ids):
        raise invalid("Name the jobs to watch, each once: ?job=first&job=second.")
    if len(job_ids) > conf.MAX_SUBSCRIPTIONS:
        raise Refused(ErrorCode.TOO_MANY_SUBSCRIPTIONS, f"A stream may watch {conf.MAX_SUBSCRIPTIONS} jobs")
    positions = positions_of(query.get("since", [""])[0] if last_event_id is None else last_event_id, len(job_ids))
    logs, output = _flag(query, "logs"), _flag(query, "output")
    return [Subscribe(each, since, logs, output) for each, since in zip(job_ids, positions, strict=True)]


def _query(scope: dict[str, Any]) -> dict[str, list[str]]:
    try:
        return parse_qs(scope.get("query_string", b"").decode("latin1"), max_num_fields=FIELDS)
    except ValueError:
        raise invalid("The query has too many fields.") from None


def _flag(query: dict[str, list[str]], name: str) -> bool:
    value = query.get(name, ["false"])[0]
    if value not in ("true", "false"):
        raise invalid(f"'{name}' must be true or false.")
    return value == "true"
