"""Of what is said again and again a few lines are written, and then how often it was meanwhile."""

import logging

import pytest

from scoreline.core.seldom import LINES, MOST, PAUSE_S, Seldom


def test_the_same_words_are_written_a_few_times_in_a_while_and_then_how_often_they_were_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = [0.0]
    log = Seldom(logging.getLogger("test"), lambda: now[0])
    for _ in range(1000 + LINES):
        log.error("%s: %s", "StoreDown", "it does not answer")
    log.error("%s: %s", "StoreDown", "something else")
    now[0] += PAUSE_S
    for _ in range(2):
        log.error("%s: %s", "StoreDown", "it does not answer")
    assert caplog.messages == [
        *["StoreDown: it does not answer"] * LINES,
        "StoreDown: something else",
        "StoreDown: it does not answer (and 1,000 times more since that was last said)",
        "StoreDown: it does not answer",
    ]


def test_words_that_are_ever_others_take_no_memory(caplog: pytest.LogCaptureFixture) -> None:
    log = Seldom(logging.getLogger("test"))
    for number in range(10 * MOST):
        log.warning("%d", number)
    assert len(log._said) <= MOST
    assert len(caplog.messages) == 10 * MOST
