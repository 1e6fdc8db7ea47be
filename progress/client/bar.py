"""The bar of a job in a terminal, with a mark where a usual run would be by now."""

from rich.text import Text

SHAPES = ("━", "─", "┃")  # done, to do, and where a usual run would be
ASCII = ("#", "-", "|")


def bar_text(percent: float, width: int, colour: str, *, usual: float | None = None, ascii_only: bool = False) -> Text:
    """Return the bar.

    Args:
        percent: How far the job is, 0 to 100; only 100 fills the bar.
        width: In characters.
        colour: What the done part is drawn in.
        usual: The percentage at which a usual run would be by now; None if that is unknown.
        ascii_only: Whether the terminal shows nothing but ASCII.

    """
    done_shape, rest_shape, mark_shape = ASCII if ascii_only else SHAPES
    done = int(width * percent / 100)
    bar = Text(no_wrap=True)
    bar.append(done_shape * done, style=colour)
    bar.append(rest_shape * (width - done), style="dim")
    if usual is None:
        return bar
    place = min(width - 1, int(width * usual / 100))
    return bar[:place] + Text(mark_shape, style="bold") + bar[place + 1 :]
