"""The page of the wire protocol, against the protocol: its examples and tables, and what the server then does."""

import json
import re
from typing import Any

import pytest
from websockets.frames import CloseCode as StandardCode

from jobs.access import AccessPolicy
from jobs.changes import OF_THE_ATTEMPT
from jobs.states import Status
from jobs.time_left.history import History
from jobs.time_left.learned import at_start
from jobs.time_left.record import Run, Segment
from progress.client.connection import backoff_delay
from progress.conf import Conf
from progress.protocol.codes import TEMPORARY, CloseCode, ErrorCode, status_of
from progress.protocol.commands import parse
from progress.protocol.position import Position
from tests.documents import FENCE, PAGES, rows, section, spans
from tests.progress.frames import built
from tests.progress.sockets import a_job
from tests.progress.watching import WAIT_SECONDS, watching

PAGE = "docs/protocol.md"
ERRORS = rows(section(PAGE, "`error`"))
CLOSE_CODES = rows(section(PAGE, "Close codes"))


def examples(side: str) -> list[Any]:
    blocks = FENCE.findall(section(PAGE, f"From the {side}"))
    return [json.loads(block) for language, block in blocks if language == "json"]


# Examples


@pytest.mark.parametrize("message", examples("client"), ids=json.dumps)
def test_example__of_a_client_parses(message):
    assert parse(json.dumps(message))


@pytest.mark.parametrize("message", examples("server"), ids=lambda message: message["type"])
def test_example__of_the_server_is_like_what_it_sends(message):
    assert shape(message) == shape(built()[message["type"]])


def shape(value: Any) -> Any:
    """Return a value with, in place of each string or number, its kind."""
    match value:
        case dict():
            return {name: shape(each) for name, each in value.items()}
        case list():
            return [shape(each) for each in value]
        case str() if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", value):
            return "a moment"
        case str() if vocabulary := {kind for kind in (Status, ErrorCode) if value in set(kind)}:
            return vocabulary
    return type(value)


def test_time_left__examples_have_the_fields_of_what_a_job_tells():
    seconds = (80.0, 90.0, 100.0, 110.0, 120.0)
    runs = [Run(each, (Segment("", False, each),), size=each, percents=bytes(range(32))) for each in seconds]
    usual, told = at_start(History("kind", tuple(runs)), {}, 110.0, [])
    about, metadata = [json.loads(block) for _, block in FENCE.findall(section(PAGE, "Time left"))]
    assert shape({**usual, "seconds": [], "curve": []}) == shape({**about["usual"], "seconds": [], "curve": []})
    assert (len(usual["seconds"]), len(usual["curve"])) == (3, 32)
    assert len(about["usual"]["seconds"]) == 3
    assert told.keys() == metadata.keys()
    assert told["time_left"].keys() == metadata["time_left"].keys()
    assert {len(entry) for entry in (*told["time_left"]["later"], *metadata["time_left"]["later"])} == {4}


def test_examples__are_of_every_type_of_both_sides():
    assert {message["type"] for message in examples("server")} == set(built())
    assert {message["type"] for message in examples("client")} == {"ping", "subscribe", "unsubscribe", "auth"}


# Tables and formulas


def test_fields__are_those_of_a_progress_frame():
    assert ["type", "job_id", *rows(section(PAGE, "`progress`"))] == list(built()["progress"])


def test_fields__statuses_and_keys_of_the_metadata():
    meanings = {field: cells[0] for field, cells in rows(section(PAGE, "`progress`")).items()}
    assert spans(meanings["status"]) == list(Status)
    assert set(spans(meanings["metadata"])) == OF_THE_ATTEMPT | {"unit"}


def test_errors__all_are_listed_and_those_that_ask_to_come_back_are_the_temporary_ones():
    assert set(ERRORS) == set(ErrorCode)
    assert {code for code, (_, then) in ERRORS.items() if re.search("close 40|429", then)} == set(TEMPORARY)


def test_errors__over_http_alone_have_their_statuses():
    listed = {code: int(then[-3:]) for code, (_, then) in ERRORS.items() if then.startswith("over HTTP alone")}
    assert listed == {code: status_of(ErrorCode(code)) for code in listed}
    assert len(listed) == 5


def test_close_codes__all_are_listed():
    assert {int(code) for code in CLOSE_CODES} == {*CloseCode, StandardCode.MESSAGE_TOO_BIG}


@pytest.mark.parametrize("code", CloseCode, ids=lambda code: code.name)
def test_close_code__its_meaning_has_the_words_of_its_name(code):
    (meaning,) = CLOSE_CODES[str(code.value)]
    assert set(code.name.lower().split("_")) <= set(re.findall(r"\w+", meaning))


def test_url__takes_the_parts_of_a_position():
    (query,) = (span for span in spans(PAGES[PAGE]) if span.startswith("?"))
    assert tuple(re.findall(r"(\w+)=", query)) == Position._fields


def test_backoff__is_the_formula():
    (formula,) = (span for span in spans(PAGES[PAGE]) if "random(" in span)
    python = re.sub(r"(\d)ⁿ", r"\1**n", formula.replace(" s", "").replace("·", "*"))
    for uniform in (min, max, lambda low, high: (low + high) / 2):
        for failures in range(12):
            assert eval(python, {"min": min, "random": uniform, "n": failures}) == backoff_delay(failures, uniform)


# What the server does


class Undecided(AccessPolicy):
    def may_view(self, user, job):
        raise RuntimeError("not now")


SOCKET, JOB = "/progress/ws", "/progress/ws/job-1"
BY_URL, BY_MESSAGE = "asked for in the URL", "by message"
PING = '{"type": "ping"}'
SUBSCRIBE = '{"type": "subscribe", "job_id": "%s"}'
UNDECIDED = {"JOBS_ACCESS_POLICY": f"{__name__}.Undecided"}

# What the table says: of what an error means, and where it tells several cases apart, the case. Then how to come by
# that: the URL, what is sent, and under which settings.
REFUSALS: list[tuple[str, str, str, list[str | bytes], dict[str, Any]]] = [
    ("not JSON", "", SOCKET, ["{"], {}),
    ("not an object", "", SOCKET, ["[]"], {}),
    ("an unknown `type`", "", SOCKET, ['{"type": "?"}'], {}),
    ("a missing or wrong field", "", SOCKET, ['{"type": "subscribe"}'], {}),
    ("a missing or wrong field", "a bad position in the URL", f"{JOB}?epoch=e&seq=-1", [], {}),
    ("a binary frame", "", SOCKET, [b"{}"], {}),
    ("there is no such job", BY_URL, f"{SOCKET}/nobody", [], {}),
    ("there is no such job", BY_MESSAGE, SOCKET, [SUBSCRIBE % "nobody"], {}),
    ("its id is malformed", BY_URL, f"{SOCKET}/a%20b", [], {}),
    ("its id is malformed", BY_MESSAGE, SOCKET, [SUBSCRIBE % "a b"], {}),
    ("this client may not see it", BY_URL, f"{SOCKET}/hidden", [], {}),
    ("this client may not see it", BY_MESSAGE, SOCKET, [SUBSCRIBE % "hidden"], {}),
    ("a bad, expired or revoked token", "a bad token", SOCKET, ['{"type": "auth", "token": "?"}'], {}),
    ("such as `mine` without a user", "else", SOCKET, ['{"type": "subscribe", "feed": "mine"}'], {}),
    ("a message over", "", SOCKET, [PING.ljust(Conf.MAX_MESSAGE_BYTES + 1)], {}),
    ("more messages a second", "", SOCKET, [PING, PING], {"PROGRESS_MAX_MESSAGES_BURST": 1}),
    ("jobs that were not found", "", SOCKET, [SUBSCRIBE % "nobody"], {"PROGRESS_MAX_MISSES_BURST": 0}),
    ("more sockets of one client", "", SOCKET, [], {"PROGRESS_MAX_CONNECTIONS_PER_CLIENT": 0}),
    ("more watchers of one job", "", JOB, [], {"PROGRESS_MAX_WATCHERS_PER_JOB": 0}),
    ("subscriptions on one socket", "", SOCKET, [SUBSCRIBE % "job-1"], {"PROGRESS_MAX_SUBSCRIPTIONS": 0}),
    ("the access policy could not decide", BY_URL, JOB, [], UNDECIDED),
    ("the access policy could not decide", BY_MESSAGE, SOCKET, [SUBSCRIBE % "job-1"], UNDECIDED),
]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("meaning", "case", "path", "messages", "changed"),
    REFUSALS,
    ids=[", ".join(filter(None, row[:2])) for row in REFUSALS],
)
async def test_error__is_what_its_row_says(meaning, case, path, messages, changed, settings):
    codes = [code for code, (meant, _) in ERRORS.items() if meaning in meant]
    assert len(codes) == 1, f"«{meaning}» is in the rows {codes}: if one says so in other words, put them here"
    stated = re.search(rf"{case or '^'}:? ?(close \d+|the socket stays open)", ERRORS[codes[0]][1])
    assert stated, f"the row of {codes[0]} does not say what follows {case}"

    await a_job()
    await a_job("hidden", public=False)
    for name, value in changed.items():
        setattr(settings, name, value)
    async with watching(path) as socket:
        for message in messages:
            await (socket.send_to(bytes_data=message) if isinstance(message, bytes) else socket.send_to(message))
        error = await socket.until("error")
        await socket.send_to(PING)
        next_is = await socket.receive_output(WAIT_SECONDS)
    done = f"close {next_is['code']}" if next_is["type"] == "websocket.close" else "the socket stays open"
    assert (error["code"], done) == (codes[0], stated[1])
