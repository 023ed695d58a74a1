"""Who is next, who waits, and who is told at once that it would be too late."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from scoreline.web.line import ACCEPTS, PRIORITIES, SLICE_NS, Line, Place

HIGH, NORMAL, LOW = range(len(PRIORITIES))
EVER_NS = 1 << 62


class Request:
    """Notes what became of it; `takes_ns` of the loop's time."""

    def __init__(self, told: list[tuple[str, Any]], name: Any, takes_ns: int = 0) -> None:
        self._told, self._name, self._takes_ns = told, name, takes_ns

    def begin(self) -> bool:
        until_ns = time.perf_counter_ns() + self._takes_ns
        while time.perf_counter_ns() < until_ns:
            pass
        self._told.append(("begun", self._name))
        return True

    def refuse(self) -> None:
        self._told.append(("refused", self._name))


def in_a_loop(act: Callable[[Line], Any], released: list[int] | None = None, told: Any = ()) -> Any:
    """What `act` gives, once nobody waits any more; `released` notes how much was told whenever answers left."""

    async def go() -> Any:
        line = Line(asyncio.get_running_loop(), lambda: released.append(len(told)) if released is not None else None)
        line.turn()
        found = act(line)
        while len(line):
            await asyncio.sleep(0)
        return found

    return asyncio.run(go())


@given(st.lists(st.sampled_from((HIGH, NORMAL, LOW)), min_size=1, max_size=40))
def test_higher_priorities_go_first_and_within_one_whoever_came_first(priorities: list[int]) -> None:
    told: list[tuple[str, Any]] = []

    def act(line: Line) -> None:
        for number, priority in enumerate(priorities):
            assert line.join(Request(told, (priority, number)), Place(priority, EVER_NS))

    in_a_loop(act)
    assert told == [("begun", each) for each in sorted((priority, at) for at, priority in enumerate(priorities))]


def test_a_turn_is_free_until_somebody_waits_or_its_slice_is_used_up() -> None:
    def act(line: Line) -> list[bool]:
        found = [line.is_free()]
        line.join(Request([], "one"), Place(NORMAL, EVER_NS))
        return [*found, line.is_free()]

    assert in_a_loop(act) == [True, False]

    def late(line: Line) -> bool:
        time.sleep(SLICE_NS / 1e9)
        return line.is_free()

    assert in_a_loop(late) is False


def test_answers_leave_after_each_slice_and_others_have_their_turn_between() -> None:
    told: list[tuple[str, Any]] = []
    released: list[int] = []

    def act(line: Line) -> None:
        for number in range(4):
            line.join(Request(told, number, takes_ns=2 * SLICE_NS), Place(NORMAL, EVER_NS))
        asyncio.get_running_loop().call_soon(told.append, ("another", "task"))

    in_a_loop(act, released, told)
    assert told.index(("another", "task")) <= 1
    assert released[0] == 0, "what was answered before somebody had to wait has left at once"
    assert {1, 2, 3, 4, 5} >= set(released[1:]) and len(released) == 5


def test_what_is_older_than_its_deadline_when_its_turn_comes_is_refused_and_not_begun() -> None:
    told: list[tuple[str, Any]] = []

    def act(line: Line) -> None:
        line.join(Request(told, "slow", takes_ns=20_000_000), Place(NORMAL, EVER_NS))
        line.join(Request(told, "hasty"), Place(NORMAL, time.perf_counter_ns() + 10_000_000))
        line.join(Request(told, "patient"), Place(NORMAL, EVER_NS))

    in_a_loop(act)
    assert told == [("begun", "slow"), ("refused", "hasty"), ("begun", "patient")]


def test_who_would_be_late_by_what_the_others_take_is_told_at_once_and_never_latches() -> None:
    told: list[tuple[str, Any]] = []
    joined: list[list[bool]] = []

    async def go() -> None:
        line = Line(asyncio.get_running_loop(), lambda: None)
        for _ in range(3):
            line.turn()
            until_ns = time.perf_counter_ns() + 60_000_000
            joined.append(
                [line.join(Request(told, at, takes_ns=5_000_000), Place(NORMAL, until_ns)) for at in range(100)]
            )
            while len(line):
                await asyncio.sleep(0)

    asyncio.run(go())
    first, *later = joined
    assert all(first), "nothing is known yet"
    for found in later:
        assert found[0], "an empty line takes everybody"
        assert 1 <= sum(found) < 100
        assert found == sorted(found, reverse=True)
    assert told.count(("begun", 0)) == 3


def test_those_who_are_gone_are_ahead_of_nobody() -> None:
    told: list[tuple[str, Any]] = []

    async def go() -> None:
        line = Line(asyncio.get_running_loop(), lambda: None)
        line.turn()
        assert line.join(Request(told, "first", takes_ns=5_000_000), Place(NORMAL, EVER_NS))
        while len(line):
            await asyncio.sleep(0)
        line.turn()
        hasty = Place(LOW, time.perf_counter_ns() + 10 * line_ns(line))
        gone = [Request(told, at) for at in range(30)]
        for at, each in enumerate(gone):
            assert line.join(each, Place((HIGH, NORMAL, LOW)[at % 3], EVER_NS))
        assert not line.join(Request(told, "refused"), hasty)
        for each in gone:
            line.leave(each)
        assert len(line) == 0 and line.join(Request(told, "last"), hasty)
        while len(line):
            await asyncio.sleep(0)

    asyncio.run(go())
    assert [name for _, name in told] == ["first", "last"]


def line_ns(line: Line) -> int:
    """What each in a line takes, as it knows by now."""
    return int(line._each_ns)


def test_while_connections_come_they_are_taken_in_before_anything_is_begun_but_not_for_ever() -> None:
    told: list[tuple[str, Any]] = []

    async def go() -> int:
        line, came = Line(asyncio.get_running_loop(), lambda: None), 0
        line.turn()
        line.join(Request(told, "one"), Place(NORMAL, EVER_NS))
        while not told:
            line.came()
            assert not line.is_free()
            came += 1
            await asyncio.sleep(0)
        return came

    assert ACCEPTS <= asyncio.run(go()) <= ACCEPTS + 3


def test_a_new_connection_takes_nobodys_turn_once_it_is_in() -> None:
    async def go() -> bool:
        line = Line(asyncio.get_running_loop(), lambda: None)
        line.came()
        await asyncio.sleep(0)
        line.turn()
        return line.is_free()

    assert asyncio.run(go())
