"""What has failed while all else went on: whatever is wrong with one, it harms no other."""

Failures = list[tuple[str, Exception]]  # what it was, and why


def raise_first(failed: Failures) -> None:
    """Say at the end, if something has failed.

    Raises:
        RuntimeError: It has.

    """
    if failed:
        name, error = failed[0]
        raise RuntimeError(f"{name}: {error!r}; {len(failed)} failed in all") from error
