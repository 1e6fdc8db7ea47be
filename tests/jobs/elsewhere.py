"""What is done in another process, which has to set Django up by itself if it is a new one."""

from typing import Any

import django

django.setup()


def finish(lifecycle: Any) -> None:
    lifecycle.mark_progress(50)
    lifecycle.mark_completed()
