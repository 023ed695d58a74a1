"""How old the requests of a connection are that rested."""

from types import SimpleNamespace
from typing import Any

from scoreline.web.rest import AT_ONCE_NS, Rest


class Turns:
    """A line's clock: each turn begins when a test says."""

    def __init__(self) -> None:
        self.line: Any = SimpleNamespace(arrived_ns=0, n_turns=0, turn=lambda: None)
        self.rest = Rest(self.line)

    def at(self, now_ns: int) -> Rest:
        self.line.arrived_ns = now_ns
        self.line.n_turns += 1
        return self.rest


def test_what_came_first_while_it_rested_says_how_old_it_is() -> None:
    turns = Turns()
    turns.at(5).hold()
    turns.at(9).hold()
    assert turns.at(500).end()
    assert turns.rest.held_ns == 5


def test_what_is_read_right_after_a_rest_may_have_been_there_all_the_time_and_later_bytes_are_new() -> None:
    turns = Turns()
    turns.at(5).hold()
    turns.at(500).end()
    assert turns.at(501).arrived_ns() == 5
    assert turns.at(502).arrived_ns() == 502
    turns.at(600).hold()
    turns.at(700).end()
    assert turns.at(700 + AT_ONCE_NS).arrived_ns() == 700 + AT_ONCE_NS


def test_a_second_rest_does_not_count_from_the_first() -> None:
    turns = Turns()
    turns.at(5).hold()
    turns.at(500).end()
    turns.at(600)
    turns.at(700).hold()
    assert turns.rest.held_ns == 700


def test_a_rest_in_which_nothing_comes_holds_nothing() -> None:
    assert not Turns().at(500).end()
