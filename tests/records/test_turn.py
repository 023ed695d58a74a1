"""A turn: what is decided together is written together, and refused together."""

from pathlib import Path

from scoreline.core.decision import Decisions
from scoreline.core.errors import RecordRefused
from scoreline.records.frames import Unsent
from scoreline.records.segments import read_items, segments
from scoreline.records.spool import read_spool
from scoreline.records.turn import Turn
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of, decisions_of

SEGMENT = 1 << 16


def bases(folder: Path) -> list[int]:
    return [decisions.base >> 20 for decisions in read_spool(folder)]


def test_decisions_wait_for_the_end_of_their_turn_and_are_then_all_there_in_order(tmp_path: Path) -> None:
    turn, authors = Turn(SpoolWriter(tmp_path, SEGMENT)), [author_of(), author_of("churn", 3)]
    for base in range(40):
        turn.write(decisions_of(authors[base % 2], base, n_rows=1 + base % 3))
    assert bases(tmp_path) == []
    turn.commit()
    assert bases(tmp_path) == list(range(40))
    assert [len(found) for found in read_spool(tmp_path)] == [1 + base % 3 for base in range(40)]
    turn.commit()
    assert len(bases(tmp_path)) == 40


def test_a_turn_that_cannot_be_written_leaves_nothing_and_tells_all_who_asked_once(tmp_path: Path) -> None:
    full = True

    class Disk(SpoolWriter):
        def _append(self, frame: bytes | bytearray) -> None:
            if full and len(frame) > 2000:
                raise RecordRefused("the decision cannot be recorded: the disk is full", 5)
            super()._append(frame)

    turn, told = Turn(Disk(tmp_path, SEGMENT)), []
    for base in range(30):
        turn.write(decisions_of(author_of(), base))
        turn.tell(lambda error, base=base: told.append((base, error.retry_after_s)))  # type: ignore[misc]
    turn.commit()
    assert (bases(tmp_path), told) == ([], [(base, 5) for base in range(30)])
    full = False
    turn.write(decisions_of(author_of(), 30))
    turn.tell(lambda _: told.append((30, 5)))
    turn.commit()
    assert (bases(tmp_path), len(told)) == ([30], 30)


def test_what_is_written_aside_waits_apart_until_it_is_written_again(tmp_path: Path) -> None:
    turn, author = Turn(SpoolWriter(tmp_path, SEGMENT)), author_of()
    turn.write(decisions_of(author, 1))
    with turn.aside() as made:
        turn.write(decisions_of(author, 2))
    turn.commit()
    assert bases(tmp_path) == [1]
    for decisions in made:
        turn.write(decisions)
    turn.commit()
    assert bases(tmp_path) == [1, 2]


def test_an_answer_that_never_left_is_marked_behind_its_own_decisions(tmp_path: Path) -> None:
    turn, author = Turn(SpoolWriter(tmp_path, SEGMENT)), author_of()
    turn.write(decisions_of(author, 1))
    turn.write(waiting := decisions_of(author, 2))
    turn.unsent(waiting)
    found, _ = read_items(segments(tmp_path)[0].path, 8, {})
    assert [item.base >> 20 for item in found if isinstance(item, Decisions | Unsent)] == [1, 2, 2]
    assert isinstance(found[-1], Unsent)
