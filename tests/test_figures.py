"""Figures and close codes that the documents tell in their sentences are those of the code."""

import re

import pytest
from websockets.frames import CloseCode as StandardCode

from jobs import extras, threads, validation
from jobs.states import EventKind
from progress.broker import publisher
from progress.client import connection as client
from progress.client import words
from progress.conf import Conf
from progress.delivery import backscroll, feed_watcher, log_reader, reads, window
from progress.protocol.codes import CloseCode
from progress.protocol.commands import MAX_JOBS
from progress.transports import message_queue
from progress.transports.daphne import frame_writer
from progress.transports.sse import application
from progress_site import health
from tests.documents import BY_HAND
from tests.installation import ROOT

KIB = 1024
MS = 0.001  # seconds
FIGURE = r"(\d[\d,.]*\d|\d)"


def in_script(name: str, constant: str) -> float:
    """Return a constant of one of the page's scripts."""
    script = (ROOT / "progress/static/progress" / name).read_text()
    found = re.search(rf"\b{constant} (?:=|>=|<=) ([\d.]+)", script)
    assert found, f"{name} has no {constant}"
    return float(found[1])


# Words around a figure, which may stand on any page, and what the code has for it.
SENTENCES = {
    # Settings
    "else every {} seconds, and without Redis": Conf.SYNC_SECONDS,
    "A sweep marks every job: every {} seconds": Conf.SYNC_SECONDS,
    "the sync every {} seconds": Conf.SYNC_SECONDS,
    "is shown within {} seconds and a round": Conf.SYNC_SECONDS,
    "within about {} ms (SQLite)": Conf.POLL_SECONDS / MS,
    "within {} ms (SQLite)": Conf.POLL_SECONDS / MS,
    "`PRAGMA data_version`, read each {} ms": Conf.POLL_SECONDS / MS,
    "or {} ms (PostgreSQL": Conf.SWEEP_SECONDS / MS,
    "on PostgreSQL each {} ms": Conf.SWEEP_SECONDS / MS,
    "connections longer than {} s": Conf.HEARTBEAT_SECONDS,
    "A `heartbeat` comes every {} seconds": Conf.HEARTBEAT_SECONDS,
    "get a heartbeat every {} seconds": Conf.HEARTBEAT_SECONDS,
    "with 4001, over at most {} seconds": Conf.DRAIN_SECONDS,
    "A comment (`:`) comes every {} seconds": application.COMMENT_SECONDS,
    "a comment each {} seconds": application.COMMENT_SECONDS,
    "A client that hears nothing for {} seconds": 2 * application.COMMENT_SECONDS,
    "`PROGRESS_ACCEPT_BACKLOG`; the kernel allows `net.core.somaxconn`, 4,096 | {} |": Conf.ACCEPT_BACKLOG,
    "the database answers, within {} seconds,": health.ANSWER_SECONDS,
    "has the mode {} (`": float(Conf.UNIX_SOCKET_MODE),
    "window of its last events, up to {} or": Conf.RING_EVENTS,
    "more events, {} at most": Conf.REPLAY_EVENTS,
    "most recent jobs (at most {},": Conf.FEED_JOBS,
    "a message over {} KiB": Conf.MAX_MESSAGE_BYTES / KIB,
    "or {} KiB of them, wait for the database": Conf.MAX_MESSAGE_BYTES / KIB,
    "more than {} subscriptions on one socket": Conf.MAX_SUBSCRIPTIONS,
    "no limit; {}, on TCP": Conf.ACCEPT_BACKLOG,
    # Constants
    "One message can ask for many jobs: 1 to {}, each once": MAX_JOBS,
    "fewer if they take more than {} characters": feed_watcher.FRAME_CHARACTERS,
    "or {} KiB. What the database says of its row": window.WINDOW_BYTES / KIB,
    "for each watched job ({} KiB at most)": window.WINDOW_BYTES / KIB,
    "up to {} in a round": log_reader.ROUND_EVENTS,
    "in pages of at most {} events": backscroll.PAGE_EVENTS,
    "at most 500 events and {} KiB, by an index": backscroll.PAGE_BYTES / KIB,
    "| 500 events or {} KiB, of one job": backscroll.PAGE_BYTES / KIB,
    "with their own `seq`, at most {} of": backscroll.MOST_EVENTS[EventKind.LOG],
    "at most 1,000 of {} bytes; or": backscroll.MOST_BYTES[EventKind.LOG],
    "Who comes later sees the last {} lines": backscroll.MOST_EVENTS[EventKind.LOG],
    "from its beginning or the last {} of": backscroll.MOST_EVENTS[EventKind.OUTPUT],
    "or the last 5,000 of {} bytes; or both": backscroll.MOST_BYTES[EventKind.OUTPUT],
    "from its beginning, or the last {} MiB": backscroll.MOST_BYTES[EventKind.OUTPUT] / KIB**2,
    "The first {} MiB of a job are kept": extras.OUTPUT_BYTES / KIB**2,
    "A part has at most {} characters": validation.MAX_OUTPUT,
    "There are {} ms between two rounds": log_reader.GATHER_SECONDS / MS,
    "what comes within the next {} ms goes out": publisher.GATHER_SECONDS / MS,
    "A read that takes {} seconds": reads.READ_SECONDS,
    "keep theirs for {} seconds": threads.KEEP_SECONDS,
    "past {} KiB there the writing pauses": frame_writer.BUFFER_BYTES / KIB,
    "takes nothing more while {} messages": message_queue.MAX_QUEUED_MESSAGES,
    "last reported, once that is {} s ago": words.QUIET_SECONDS,
    "the heartbeat interval plus {} seconds": client.GRACE_SECONDS,
    "the element waits for it, {} seconds": in_script("job-watch.js", "waitSeconds"),
    "retries after 4504, at most {} seconds apart": in_script("connection.js", "WAITING_MAX_SECONDS"),
    # Close codes
    "past the bound, the socket is closed with {}": CloseCode.TOO_SLOW,
    "always sent, or the socket is closed with {}": CloseCode.TOO_SLOW,
    "a slow client sees 1006 instead of {}": CloseCode.TOO_SLOW,
    "whose URL names the job is closed with {} after `unavailable`": CloseCode.RESYNC,
    "of which something was sent, the socket is closed with {}": CloseCode.RESYNC,
    "A message that is refused ends the socket with {}": CloseCode.RESYNC,
    "When the token expires, the socket is closed with {}": CloseCode.TOKEN_EXPIRED,
    "503 on older ones, {} spread over": CloseCode.GOING_AWAY,
    "closes its WebSockets one by one with {}": CloseCode.GOING_AWAY,
    "«Job not found», close code {}": CloseCode.JOB_NOT_FOUND,
    "`<job-progress>` alone retries after {}": CloseCode.JOB_NOT_FOUND,
    "({} if the server software refuses it first": StandardCode.MESSAGE_TOO_BIG,
    "the client gets {}": StandardCode.MESSAGE_TOO_BIG,
    "–{} mean: connect again": in_script("policy.js", "code") - 1,
    "{}–4999 mean: stop": in_script("policy.js", "code"),
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_sentence__has_the_figure_of_the_code(sentence: str) -> None:
    before, after = map(re.escape, sentence.split("{}"))
    pages = {page: " ".join(text.split()) for page, text in BY_HAND.items()}
    told = [(page, figure) for page, text in pages.items() for figure in re.findall(before + FIGURE + after, text)]
    assert told, f"No page says «{sentence}» any more: if one says so in other words, put them here"
    for page, figure in told:
        right = SENTENCES[sentence]
        assert float(figure.replace(",", "")) == pytest.approx(right), f"{page}: {figure} for {right:g} in «{sentence}»"


def test_scripts__have_the_figures_of_python() -> None:
    assert in_script("policy.js", "BASE_SECONDS") == client.BACKOFF_MIN
    assert in_script("policy.js", "MAX_SECONDS") == client.BACKOFF_MAX
    assert in_script("policy.js", "GRACE_SECONDS") == client.GRACE_SECONDS
    assert in_script("policy.js", "JOB_NOT_FOUND") == CloseCode.JOB_NOT_FOUND
    assert in_script("subscriptions.js", "MAX_JOBS") == MAX_JOBS
    assert client.HEARTBEAT_SECONDS == Conf.HEARTBEAT_SECONDS
