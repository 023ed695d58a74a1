"""The report before any outcome: the same however rows are split, and every figure as counted one by one."""

import json
import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core import ids
from scoreline.rollout.agreement import MOVERS, Agreement, Versions

VERSIONS = Versions(("accept", "decline"), ("decline", "accept", "ask"), segments=("car", "van"))
Row = tuple[float, float, int, int, float]
ROWS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.floats(0, 1),
        st.integers(0, 1),
        st.integers(0, 2),
        st.sampled_from((0.0, 1.0, math.nan)),
    ),
    max_size=120,
)


def folded(rows: list[Row], first: int = 0) -> Agreement:
    if not rows:
        return Agreement.of(VERSIONS)
    scores, others, outcomes, other_outcomes, segment = (list(column) for column in zip(*rows, strict=True))
    return Agreement.of(VERSIONS).add(
        range(first, first + len(rows)),
        np.array(scores)[:, None],
        np.array(others)[:, None],
        outcomes,  # type: ignore[arg-type]
        other_outcomes,  # type: ignore[arg-type]
        np.array(segment),
    )


def exact(found: Agreement) -> dict[str, Any]:
    """A report without what sums of floats leave to their order."""
    report = found.to_json()
    for part in (report, *report["segments"]):
        del part["means"], part["ratio_of_means"]
    return report


@given(ROWS, st.lists(st.integers(0, 120), max_size=4))
def test_any_split_and_order_gives_the_same_report(rows: list[Row], cuts: list[int]) -> None:
    bounds = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    parts = [folded(rows[low:high], low) for low, high in pairwise(bounds)]
    whole = folded(rows)
    forth = sum(parts, Agreement.of(VERSIONS))
    back = sum(reversed(parts), Agreement.of(VERSIONS))
    assert exact(forth) == exact(back) == exact(whole)
    assert forth.sums == pytest.approx(whole.sums, abs=1e-9)
    json.dumps(whole.to_json(), allow_nan=False)


@given(ROWS)
def test_every_figure_is_as_counted_row_by_row(rows: list[Row]) -> None:
    report = folded(rows).to_json()
    assert report["rows"] == len(rows)
    distances = sorted(abs(after - before) for before, after, *_ in rows)
    if not rows:
        assert (report["distance"], report["means"], report["same_outcome"]) == (None, None, None)
        assert report["ratio_of_means"] == [None]
        return
    for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)):
        truth = distances[math.ceil(q * len(rows)) - 1]
        assert truth * (1 - 1e-9) <= report["distance"][name] <= max(truth * 1.0747, 1.0001e-9)
    assert report["distance"]["max"] == distances[-1]
    names = [(VERSIONS.outcomes[i], VERSIONS.other_outcomes[j]) for _, _, i, j, _ in rows]
    assert {(each["from"], each["to"]): each["rows"] for each in report["outcomes"]} == {
        pair: names.count(pair) for pair in set(names)
    }
    assert report["same_outcome"] == sum(one == two for one, two in names) / len(rows)
    assert report["means"][0] == pytest.approx([sum(row[i] for row in rows) / len(rows) for i in (0, 1)])
    for part in report["segments"]:
        code = {"car": 0.0, "van": 1.0, None: math.nan}[part["segment"]]
        alone = folded([row for row in rows if row[4] == code or (row[4] != row[4] and code != code)]).to_json()
        assert {**part, "segment": 0} == {
            **{name: alone[name] for name in part if name != "segment"},
            "segment": 0,
        }
    assert sum(part["rows"] for part in report["segments"]) == len(rows)


def test_the_movers_are_the_fifty_that_moved_furthest_by_their_ids() -> None:
    rng = np.random.default_rng(5)
    before = rng.random(1000)
    after = before + np.round(rng.normal(0, 0.1, 1000), 2)  # many move equally far
    rows = [(one, two, 0, 0, 0.0) for one, two in zip(before.tolist(), after.tolist(), strict=True)]
    found = folded(rows).to_json()["movers"]
    wanted = sorted(range(1000), key=lambda row: (-abs(after[row] - before[row]), row))[:MOVERS]
    assert [each["id"] for each in found] == [ids.text(row) for row in wanted]
    assert found[0]["score"] == before[wanted[0]] and found[0]["other_score"] == after[wanted[0]]
    still = folded([(0.5, 0.5, 0, 0, 0.0)] * 100).to_json()
    assert still["movers"] == [] and still["distance"] == dict.fromkeys(("p50", "p90", "p99", "p99.9", "max"), 0.0)


def test_of_several_outputs_the_one_that_moved_most_counts() -> None:
    before, after = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6]]), np.array([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
    report = Agreement.of(Versions(outputs=3)).add([7, 8], before, after).to_json()
    assert report["movers"] == [{"id": ids.text(7), "score": 0.5, "other_score": 0.1}]
    assert report["distance"]["max"] == pytest.approx(0.4)
    assert report["ratio_of_means"] == pytest.approx([0.3 / 0.7, 0.8 / 0.5, 0.9 / 0.8])
    assert (report["outcomes"], report["same_outcome"], report["segments"]) == ([], None, [])


def test_scores_of_any_size_have_their_bin() -> None:
    before, after = np.zeros((3, 1)), np.array([[1e-300], [1e300], [2.0]])
    distance = Agreement.of(Versions()).add([1, 2, 3], before, after).to_json()["distance"]
    assert distance["p50"] == pytest.approx(2.0, rel=0.075) and distance["max"] == distance["p99"] == 1e300


def test_what_is_not_of_the_same_versions_is_not_merged() -> None:
    with pytest.raises(ValueError, match="cannot be merged"):
        Agreement.of(VERSIONS) + Agreement.of(Versions())
