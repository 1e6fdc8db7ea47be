"""What is sent: sessions of steps that are each right, nearly right, or nothing that was ever specified."""

import json
from typing import Any, NamedTuple

from hypothesis import strategies as st

from tests.fuzz.wire import BINARY, CLOSE, PING, PONG, TEXT, framed, raw_frame

WATCHED, HIDDEN = "watched", "hidden"
TOKEN = "(the owner's token)"  # stands for a valid one, in a message
LONG = 70_000  # bytes: more than a message may have

job_ids = st.sampled_from(
    [WATCHED, HIDDEN, "", "x" * 64, "x" * 65, "../admin", "a/b", "жук", "\x00", "\ud800", "watched\n", "%77atched", "*"]
) | st.text(max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | job_ids
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
seqs = st.sampled_from([0, 1, 2, 2**31, 2**53, 2**63 - 1, 2**63, 10**30, -1, 0.5, True, "1"])
positions = st.fixed_dictionaries({}, optional={"epoch": st.text(max_size=20) | anything, "seq": seqs | anything})
entries = st.fixed_dictionaries({"job_id": job_ids}, optional={"since": positions | anything}) | anything
tokens = st.just(TOKEN) | st.sampled_from(["", "a.b.c", "eyJ1IjoxfQ:1abc:signature", TOKEN + "x", "\x00"]) | anything
FIELDS: dict[Any, st.SearchStrategy[Any]] = {
    "job_id": job_ids | anything,
    "jobs": st.lists(entries, max_size=4) | st.lists(entries, min_size=127, max_size=130) | anything,
    "job_ids": st.lists(job_ids | anything, max_size=4) | anything,
    "feed": st.sampled_from(["all", "mine", "ALL", "", "each"]) | anything,
    "since": positions | anything,
    "logs": st.booleans() | anything,
    "output": st.booleans() | anything,
    "token": tokens,
}
types = st.sampled_from(["ping", "subscribe", "unsubscribe", "auth"]) | anything


def _with_fields(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries({"type": types, **{name: FIELDS[name] for name in names}})


# Few fields at a time: with all of them, a message names more than one subject, and is refused for that alone.
commands = st.lists(st.sampled_from(list(FIELDS)), max_size=2, unique=True).map(tuple).flatmap(_with_fields)


def _encoded(text: str) -> bytes:
    return text.encode(errors="replace")


odd_texts = [
    *(b"", b"{", b"NaN", b"[" * 30_000, b"1" * 6_000, b'{"a":' * 5_000, b'{"type":"ping"}\x00', b"\xff\xfe"),
    *(b'{"type":"ping","type":{}}', b'{"type":"subscribe","job_id":"watched","job_id":"hidden"}'),
]
wild_texts = (
    st.builds(json.dumps, commands | anything, ensure_ascii=st.booleans()).map(_encoded)
    | st.sampled_from(odd_texts)
    | st.binary(max_size=40)
)


class Step(NamedTuple):
    """One thing to send: frames (payload, opcode, whether it is the last part), or bytes of any kind."""

    frames: tuple[tuple[bytes, int, bool], ...] = ()
    junk: bytes = b""
    times: int = 1

    def data(self, token: str) -> bytes:
        """Return what is sent, with a valid token in its place."""
        real = token.encode()
        framing = (
            framed(text.replace(TOKEN.encode(), real), opcode, final=final) for text, opcode, final in self.frames
        )
        return b"".join(framing) * self.times + self.junk

    @property
    def is_sane(self) -> bool:
        """Whether the connection is still of use after it."""
        whole = b"".join(text for text, opcode, _ in self.frames if opcode in (TEXT, 0))
        return not self.junk and not self.close_codes and _is_utf8(whole)

    @property
    def close_codes(self) -> set[int]:
        """The codes of the closes in it, which the server may repeat."""
        return {int.from_bytes(text[:2]) for text, opcode, _ in self.frames if opcode == CLOSE}

    @property
    def has_token(self) -> bool:
        """Whether a valid token may be in it."""
        return any(TOKEN.encode()[:5] in text for text, _, _ in self.frames)


def _message(text: bytes, opcode: int = TEXT, times: int = 1) -> Step:
    return Step(((text, opcode, True),), times=times)


def _in_parts(text: bytes, cuts: list[int]) -> Step:
    ends = [*sorted(cut % (len(text) + 1) for cut in cuts), len(text)]
    parts = [text[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    return Step(tuple((part, 0 if index else TEXT, index == len(parts) - 1) for index, part in enumerate(parts)))


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _closing(code: int, reason: str) -> Step:
    return _message(code.to_bytes(2) + reason.encode()[:100], CLOSE)


messages = st.builds(_in_parts, wild_texts, st.lists(st.integers(0, 100), max_size=3))
steps = st.one_of(
    messages,
    messages,
    messages,
    st.builds(_message, st.binary(max_size=125), st.sampled_from([PING, PONG, BINARY])),
    st.just(_message(b'{"type":"ping"}', times=250)),
    st.just(_message(b"", PING, times=250)),
    st.just(_message(b" " * LONG)),
    st.builds(_closing, st.sampled_from([1000, 1001, 4001, 999, 1005, 1006, 65_535]), st.text(max_size=10)),
)
malformed = st.builds(
    raw_frame,
    st.binary(max_size=140),
    st.integers(0, 255),
    is_masked=st.booleans(),
    length=st.sampled_from([0, 1, 5, 125, 126, 127, 65_535, 65_536, 2**31, 2**63 - 1, 2**63]),
    size=st.sampled_from([0, 2, 8]),
).map(lambda junk: Step(junk=junk))
garbage = st.binary(min_size=1, max_size=300).map(lambda junk: Step(junk=junk))

paths = st.sampled_from(
    [
        "/progress/ws",
        f"/progress/ws/{WATCHED}",
        f"/progress/ws/{HIDDEN}",
        f"/progress/ws/{WATCHED}?epoch=e&seq=1",
        f"/progress/ws/{WATCHED}?epoch=%00&seq=%D9%A3&seq=x&epoch",
        f"/progress/ws/{WATCHED}?epoch=e&seq=99999999999999999999999",
        "/progress/ws/%00",
        "/progress/ws/%ff%fe",
        "/progress/ws/" + "x" * 2_000,
        "/progress/ws/a%0d%0aInjected: yes",
        "//progress/ws",
        "/",
        "/jobs/%00/",
        f"/jobs/{HIDDEN}/",
        "/elsewhere",
    ]
)
texts = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30)
headers = st.sampled_from(
    [
        ("Origin", "null"),
        ("Origin", "http://[::1"),
        ("Origin", "https://elsewhere.example"),
        ("Cookie", 'sessionid="\\000"'),
        ("Cookie", "sessionid=" + "x" * 5_000),
        ("Cookie", ";;=;sessionid=;=x"),
        ("Authorization", "Bearer"),
        ("Authorization", "Bearer a:b:c"),
        ("Authorization", "Basic eDp4"),
        ("Sec-WebSocket-Protocol", "a, b, a"),
        ("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits=99"),
        ("X-Forwarded-For", "1.2.3.4, nonsense, ::::"),
        ("Daphne-Root-Path", "javascript:alert(1)"),
        ("Host", "elsewhere.example"),
        ("Host", "a b"),
        ("Content-Length", "5"),
        ("Content-Length", "-1"),
        ("Transfer-Encoding", "chunked"),
        ("Expect", "100-continue"),
        ("Upgrade", "h2c"),
        ("Connection", "close"),
        ("Sec-WebSocket-Version", "99"),
        ("Sec-WebSocket-Key", "short"),
    ]
) | st.tuples(st.sampled_from(["Origin", "Cookie", "Authorization", "Host", "X-Any", "Sec-WebSocket-Protocol"]), texts)


def handshake(path: str, added: "tuple[tuple[str, str], ...] | list[tuple[str, str]]" = ()) -> bytes:
    """Return the request that opens a WebSocket, with more headers, or others in the place of its own."""
    own = {
        "Host": "127.0.0.1",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    named = {name for name, _ in added}
    lines = [*((name, value) for name, value in own.items() if name not in named), *added]
    head = "".join(f"{name}: {value}\r\n" for name, value in lines)
    return f"GET {path} HTTP/1.1\r\n{head}\r\n".encode("latin1")


handshakes = st.builds(handshake, paths, st.lists(headers, max_size=3))
spoilt_handshakes = st.builds(
    lambda request, at, junk, end: (request[: at % len(request)] + junk + request[at % len(request) :])[:end],
    handshakes,
    st.integers(0, 400),
    st.binary(max_size=20) | st.sampled_from([b"\r\n\r\n", b"\x00", b"A" * 70_000, b"\r\nX: y" * 600]),
    st.none() | st.integers(0, 300),
)
requests = st.one_of(handshakes, spoilt_handshakes, st.binary(max_size=200))
