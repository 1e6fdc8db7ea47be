"""Windows of time, by whose ends waits end: so those who wait for the same ask at the same URL, whoever came when.

Pure. Times are milliseconds since 1970 (Unix), and a window is known by its number, the ``wave`` of answers.
"""

WINDOW_MS = 20_000  # with the next one at most 40 s: below the 60 s after which proxies give up
MOST_AHEAD = 3  # windows by which another server's clock may be ahead of ours


def shift_of(job_id: str) -> int:
    """Return by how many milliseconds a job's windows begin earlier than those of others: their ends are spread.

    It is the FNV-1a hash of 32 bits of the id's bytes, modulo the length of a window.
    """
    hashed = 0x811C9DC5
    for byte in job_id.encode():
        hashed = (hashed ^ byte) * 0x01000193 % 2**32
    return hashed % WINDOW_MS


def present(job_id: str, now: int) -> int:
    """Return the window that a time is in."""
    return (now + shift_of(job_id)) // WINDOW_MS


def end_of(job_id: str, window: int) -> int:
    """Return when a window ends."""
    return (window + 1) * WINDOW_MS - shift_of(job_id)


def waited_for(job_id: str, asked: int | None, now: int) -> int | None:
    """Return to the end of which window a request waits; None if it is answered at once.

    Args:
        job_id: The job.
        asked: The window that it names, if any. One beyond the next is taken for the next.
        now: When it came.

    Raises:
        ValueError: The window is so far ahead that no server has named it.

    """
    window = present(job_id, now)
    if asked is None or asked < window:
        return None
    if asked > window + MOST_AHEAD:
        raise ValueError(f"window {asked} is too far ahead")
    return min(asked, window + 1)


def named(job_id: str, waited: int | None, now: int, *, is_empty: bool) -> int:
    """Return the window that an answer names, for the next request.

    Args:
        job_id: The job.
        waited: To the end of which window the request waited; None if it did not wait.
        now: When it is answered.
        is_empty: Whether there is nothing new: then it names a later window, so that nobody asks for it twice.

    """
    window = present(job_id, now)
    return max(window, waited + 1) if is_empty and waited is not None else window
