"""What URLs ask for, and what is none of ours."""

import pytest

from progress.polling.asked import Asked, asked_by, client_of
from progress.protocol.exceptions import Refused
from progress.protocol.position import Position

EPOCH = "9f1c2a7be03d5512"
POSITION = f"job-1/{EPOCH}/7"


def test_job__is_asked_for_its_snapshot() -> None:
    assert asked_by("job-1", "") == Asked("job-1", None, None, frozenset())


def test_position__is_asked_for_what_follows() -> None:
    assert asked_by(POSITION, "") == Asked("job-1", Position(EPOCH, 7), None, frozenset())
    assert asked_by(POSITION, "wave=88&logs=1&output=0") == Asked("job-1", Position(EPOCH, 7), 88, frozenset({"log"}))


@pytest.mark.parametrize("query", ["x=1", "after=0123456789abcdef&y", "=", "%ff=%00"])
def test_unknown_parameters__say_nothing(query: str) -> None:
    assert asked_by(POSITION, query) == asked_by(POSITION, "")
    assert asked_by("job-1", query) == asked_by("job-1", "")


BAD = [
    *[
        (path, "", "job_not_found")
        for path in ("", "/", "ä", "x" * 65, "-x", "../x", "job 1", "job-1\0", f"/{EPOCH}/1")
    ],
    *[(f"job-1{rest}", "", "invalid_message") for rest in ("/", f"/{EPOCH}", f"/{EPOCH}/1/", f"/{EPOCH}/1/2")],
    *[
        (f"job-1/{EPOCH}/{seq}", "", "invalid_message")
        for seq in ("", "x", "-1", "01", "1.5", "١", "9" * 19, "9" * 9999)
    ],
    *[(f"job-1/{epoch}/1", "", "invalid_message") for epoch in ("", "ä", "x" * 65, "a b", "a\0")],
    *[(POSITION, f"wave={wave}", "invalid_window") for wave in ("", "x", "-1", "01", "1e3", "1&wave=2", "9" * 99)],
    *[(POSITION, f"logs={flag}", "invalid_message") for flag in ("", "2", "true", "1&logs=1")],
    ("job-1", "wave=1", "invalid_message"),
    ("job-1", "logs=1", "invalid_message"),
    (POSITION, "&".join(f"x{number}=1" for number in range(17)), "invalid_message"),
]


@pytest.mark.parametrize(("path", "query", "code"), BAD, ids=lambda each: repr(each)[:40])
def test_nonsense__is_refused_with_a_sentence_that_repeats_none_of_it(path: str, query: str, code: str) -> None:
    with pytest.raises(Refused) as refused:
        asked_by(path, query)
    assert refused.value.code == code
    assert path not in refused.value.sentence or not path.strip("/")


def test_client__is_split_off() -> None:
    assert client_of(f"0123456789abcdef/{POSITION}") == ("0123456789abcdef", POSITION)


@pytest.mark.parametrize("path", ["", "job-1", "short/job-1", f"{'x' * 65}/job-1", "0123456789abcde!/job-1"])
def test_client__that_could_be_another_is_refused(path: str) -> None:
    with pytest.raises(Refused, match="random"):
        client_of(path)
