"""Samples of what is odd: nothing that a service can see keeps its metrics from being told."""

from scoreline.control.samples import of_tallies
from scoreline.core.decision import Author
from scoreline.records.frames import Failed, Item
from scoreline.records.tally import NO_SHAPE, Shape, Tallies
from somedecisions import author_of, decisions_of

SHAPE = Shape((0.1, 0.5), 0.5, 0.1)
CLASSES = author_of("churn", 2, classes=("stays", "goes"))


def counted(shape: Shape, *items: Item) -> Tallies:
    tallies = Tallies(lambda _: shape)
    for item in items:
        tallies.add(item)
    return tallies


def scores(tallies: Tallies) -> list[tuple[list[int], float]]:
    """Of each output: how many were at most each bound, and the sum."""
    told = [value for name, _, value in of_tallies(tallies) if name == "score"]
    return [([n for _, n in buckets], total) for buckets, total in told]


def failed(author: Author) -> Failed:
    return Failed(author, 1, "raised")


def test_a_version_whose_first_request_failed_is_told_with_no_scores() -> None:
    """A canary that is broken is what metrics are looked at for."""
    assert scores(counted(SHAPE, failed(author_of()))) == [([0, 0, 0], 0.0)]
    assert scores(counted(NO_SHAPE, failed(CLASSES))) == [([0], 0.0)] * 2


def test_what_was_kept_under_another_shape_begins_its_histogram_anew() -> None:
    kept = counted(SHAPE, decisions_of(author_of(), 3), decisions_of(author_of(), 4, score=0.05)).kept()
    for shape, bins in ((SHAPE, [1, 2, 2]), (Shape((0.2,)), [0, 0]), (NO_SHAPE, [0])):
        tallies = counted(shape)
        tallies.take(kept)
        assert scores(tallies) == [(bins, 0.55)]
        tallies.add(decisions_of(author_of(), 5))
        assert scores(tallies)[0][0][-1] == bins[-1] + 1
