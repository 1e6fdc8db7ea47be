"""Python's garbage collector, paused while very much is made that is soon gone by itself."""

import asyncio
import gc
import os
from collections.abc import Iterator

import pytest

from progress.delivery import garbage, hubs
from progress.delivery.garbage import no_collections
from tests.progress.delivery.guarding import PATH, asked, cookie
from tests.progress.sockets import a_job, a_user
from tests.progress.watching import eventually, watching


@pytest.fixture(autouse=True)
def _on() -> Iterator[None]:
    assert gc.isenabled()
    yield
    gc.enable()


async def test_pause__ends_with_the_last_of_those_who_asked_for_it() -> None:
    with no_collections():
        with no_collections():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()


async def test_pause__ends_whatever_is_raised() -> None:
    with pytest.raises(ZeroDivisionError), no_collections():
        raise ZeroDivisionError
    assert gc.isenabled()


async def test_pause__of_who_has_it_off_anyway_turns_nothing_on() -> None:
    gc.disable()
    with no_collections():
        pass
    assert not gc.isenabled()


async def test_pause__is_not_of_a_forked_child() -> None:
    with no_collections():
        child = os.fork()
        if child == 0:
            os._exit(not gc.isenabled())
        assert not gc.isenabled()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0  # noqa: ASYNC222 - it has ended


async def test_pause__that_lasts_too_long_is_over_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the database does not answer: in other threads there may be garbage that nothing else finds."""
    monkeypatch.setattr(garbage, "MOST_SECONDS", 0.01)
    with no_collections():
        await eventually(gc.isenabled)
        monkeypatch.setattr(garbage, "MOST_SECONDS", 60.0)
        with no_collections():
            assert not gc.isenabled()
        assert gc.isenabled()
    assert gc.isenabled()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("asked_by_hand")
async def test_check_of_access__collects_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    ann = await a_user()
    await a_job("private", owner=ann, public=False)
    async with watching(PATH, *await cookie(ann)) as socket:
        assert (await socket.next())["type"] == "snapshot"
        guard, begun = hubs.current().guard, list[str]()
        sees = guard._check_what_they_see

        async def noted(connections: object) -> None:
            gc.callbacks.append(lambda phase, _: begun.append(phase))
            try:
                threshold = gc.get_threshold()
                gc.set_threshold(1, 1, 1)
                await sees(connections)  # type: ignore[arg-type]
                await asyncio.sleep(0)
            finally:
                gc.set_threshold(*threshold)
                gc.callbacks.pop()

        monkeypatch.setattr(guard, "_check_what_they_see", noted)
        await asked()
        assert begun == []
    assert gc.isenabled()
