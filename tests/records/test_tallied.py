"""What is counted is counted once, whoever dies when: tallies and offsets are kept together."""

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.batch import Context
from scoreline.core.decision import Decisions
from scoreline.records.segments import segments
from scoreline.records.tallied import Tallied
from scoreline.records.tally import MOST, NO_SHAPE, Shape, Tallies
from scoreline.records.writer import SpoolWriter
from somedecisions import author_of, decisions_of

FRAUD = author_of("fraud", outcomes=("approve", "decline"))
CHURN = author_of("churn", classes=("a", "b"), version="7", role="canary")
SHAPES = {FRAUD.digest: Shape((0.1, 0.5), 0.8)}


def shape_of(digest: str) -> Shape:
    return SHAPES.get(digest, NO_SHAPE)


def tallied(folder: Path) -> Tallied:
    return Tallied(folder, folder / "tallies", shape_of)


def decided(base: int, *, churn: bool = False) -> Decisions:
    context = Context(1_795_000_000_000_000_000 + base)
    if churn:
        return decisions_of(CHURN, base, 2, 0.25, context=context, degraded={1: (0,)}, total_ns=9_000_000)
    more = {"outcomes": [base % 2], "defaulted": {0: (1,)} if base % 3 == 0 else {}}
    return decisions_of(FRAUD, base, 1, base % 10 / 10, context=context, total_ns=1_000_000, **more)


@pytest.mark.parametrize("ends", [(), (0,), (3,), (0, 1, 2, 3)])
def test_however_often_the_steward_dies_each_decision_is_counted_once(tmp_path: Path, ends: tuple[int, ...]) -> None:
    writer, alone = SpoolWriter(tmp_path, 4000), Tallies(shape_of)
    here = tallied(tmp_path)
    for turn in range(5):
        for base in range(turn * 10, turn * 10 + 10):
            found = decided(base, churn=base % 4 == 0)
            writer.write(found)
            alone.add(found)
            if base % 5 == 0:
                writer.unsent(found)
            if base % 7 == 0:
                writer.failed(FRAUD, base, base, "raised", [])
        here.read()
        if turn % 2:
            here.save()
        if turn in ends:  # killed: what was not kept is read again
            here = tallied(tmp_path)
    here.read()
    counted = {(found["model"], found["role"]): found for found in here.tallies.to_json()}
    for wanted in alone.to_json():
        found = counted[wanted["model"], wanted["role"]]
        unsent = sum(1 for base in range(0, 50, 5) if (base % 4 == 0) == (wanted["model"] == "churn"))
        failed = {"raised": len(range(0, 50, 7))} if wanted["model"] == "fraud" else {}
        assert found == wanted | {"unsent": unsent, "failed": failed}
    kept = [tally.kept() for _, tally in here.tallies]
    here.save()
    assert [tally.kept() for _, tally in tallied(tmp_path).tallies] == kept


def test_what_cannot_be_kept_is_said_and_counted_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    writer, here = SpoolWriter(tmp_path, 1 << 20), tallied(tmp_path)
    writer.write(decided(1))
    assert here.read() == 1
    (tmp_path / ".tallies").mkdir()  # where it is written first
    here.save()
    (segment,) = segments(tmp_path)
    assert not here.is_past(segment, segment.path.stat().st_size)
    assert "cannot be kept" in caplog.text
    (tmp_path / ".tallies").rmdir()
    here.save()
    assert tallied(tmp_path).read() == 0


def test_only_what_is_kept_counts_as_read(tmp_path: Path) -> None:
    writer, here = SpoolWriter(tmp_path, 1 << 20), tallied(tmp_path)
    writer.write(decided(1))
    assert here.read() == 1
    (segment,) = segments(tmp_path)
    size = segment.path.stat().st_size
    assert not here.is_past(segment, size)
    here.save()
    assert here.is_past(segment, size)
    assert tallied(tmp_path).read() == 0


def test_a_file_that_cannot_be_read_is_said_and_the_spool_is_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    SpoolWriter(tmp_path, 1 << 20).write(decided(1))
    for raw in (b"", b"nothing", b"\x81\xa6format\x02"):
        (tmp_path / "tallies").write_bytes(raw)
        with caplog.at_level(logging.ERROR):
            here = tallied(tmp_path)
        assert "counting begins anew" in caplog.text
        assert here.read() == 1
        caplog.clear()


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_scores_are_counted_by_the_bounds_of_their_version(scores: list[float]) -> None:
    tallies = Tallies(shape_of)
    for base, score in enumerate(scores):
        tallies.add(decisions_of(FRAUD, base, 1, score))
    ((_, tally),) = tallies
    assert tally.within == [
        [
            sum(score <= 0.1 for score in scores),
            sum(0.1 < score <= 0.5 for score in scores),
            sum(score > 0.5 for score in scores),
        ]
    ]
    assert tally.high == sum(score >= 0.8 for score in scores)


def test_what_is_counted_of_a_model_is_bounded() -> None:
    tallies = Tallies()
    for version in range(3 * MOST):
        author = author_of("fraud", version=str(version))
        tallies.add(decisions_of(author, version, context=Context(1 + version)))
    tallies.add(decisions_of(author_of("churn"), 1, context=Context(0)))
    found = [version for (model, version, _), _ in tallies if model == "fraud"]
    assert sorted(map(int, found)) == list(range(2 * MOST, 3 * MOST)), "the last ones"
    assert len(list(tallies)) == MOST + 1
