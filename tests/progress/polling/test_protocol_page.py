"""What the page of the protocol says of polling, against the software."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from jobs.lifecycle import ProcessingJobLifecycle
from progress.delivery.pages import PAGE_EVENTS
from progress.polling import pieces, windows
from progress.protocol.codes import ErrorCode, status_of
from tests.documents import FENCE, PAGES, rows, section
from tests.progress.polling.asking import url

PAGE = "docs/protocol.md"
OF_POLLING = PAGES[PAGE].partition("\n## Polling\n")[2].partition("\n## ")[0]


def examples() -> list[Any]:
    return [json.loads(block) for language, block in FENCE.findall(OF_POLLING) if language == "json"]


@pytest.mark.django_db
def test_examples__have_the_fields_of_what_is_answered(
    client: Client, make_job: Callable[..., ProcessingJobLifecycle]
) -> None:
    make_job("job-1", status="in_progress", public=True)
    stands = client.get(url("job-1")).json()
    answer, refused = client.get(url("job-1", {**stands, "seq": 1})).json(), client.get(url("nobody")).json()
    shown, shown_refusal = examples()
    assert list(shown) == list(answer)
    assert list(shown["events"][0]) == list(answer["events"][0])
    assert shown_refusal == refused


def test_refusals__all_are_listed_with_their_statuses() -> None:
    listed = {code: int(cells[0]) for code, cells in rows(section(PAGE, "Refusals")).items()}
    assert listed == {code: status_of(ErrorCode(code)) for code in listed}
    over_http_alone = {code for code, (_, then) in rows(section(PAGE, "`error`")).items() if "over HTTP" in then}
    as_on_sockets = {
        ErrorCode.INVALID_MESSAGE,
        ErrorCode.NOT_AUTHENTICATED,
        ErrorCode.JOB_NOT_FOUND,
        ErrorCode.UNAVAILABLE,
    }
    assert set(listed) == over_http_alone | as_on_sockets


def test_numbers__are_those_of_the_software() -> None:
    assert f"a multiple of {PAGE_EVENTS}" in OF_POLLING
    assert f"{pieces.PIECE_BYTES // 2**20} MiB" in OF_POLLING
    assert f"windows of {windows.WINDOW_MS // 1000} seconds" in OF_POLLING
    assert f"{2 * windows.WINDOW_MS // 1000} seconds at most" in OF_POLLING
    assert re.search(r"max-age=(\d+), immutable", OF_POLLING)
