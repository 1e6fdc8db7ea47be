"""The thread that looks at what was marked."""

import threading
from collections.abc import Collection
from typing import Any

from jobs.looks import Looks


def test_mark__where_no_thread_can_be_started_the_next_mark_has_all_looked_at(monkeypatch: Any) -> None:
    seen: list[str] = []

    def look(marked: Collection[str]) -> Collection[str]:
        seen.extend(sorted(marked))
        return ()

    def no_more(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    looks = Looks(look)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more)
        looks.mark("a")
        looks.finish()
    looks.mark("b")
    looks.finish()
    assert seen == ["a", "b"]
