"""Where the time of requests goes: percentiles that are near the true ones, and counts that add up."""

import struct
import zlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scoreline.core.batch import Context
from scoreline.core.decision import Decisions
from scoreline.records.frames import frame_author, frame_decisions, read_frames, read_parts
from scoreline.records.spent import BOUNDS_S, PARTS, RECENT_S, Spent, spending
from somedecisions import author_of, decisions_of

S = 1_000_000_000
NOW_NS = 1_795_000_000 * S
TIMES = st.integers(1000, 10 * S)


def timed(total_ns: int, time_ns: int = NOW_NS, **parts: int) -> Decisions:
    facts = {"context": Context(time_ns), "total_ns": total_ns, "model_ns": 0, **parts}
    return decisions_of(author_of(), 1, **facts)


@given(st.lists(TIMES, min_size=1, max_size=200))
def test_a_percentile_is_at_most_a_bin_above_the_true_one(times: list[int]) -> None:
    spent = Spent()
    for total_ns in times:
        spent.add([timed(total_ns)])
    found = spending([spent], 150, NOW_NS)
    assert found.requests == len(times)
    for q in (50, 95, 99):
        true_ms = float(np.quantile(times, q / 100, method="inverted_cdf")) / 1e6
        assert true_ms * 0.9999 <= found.parts["total"][f"p{q}_ms"] <= true_ms * 1.05  # type: ignore[operator]
    assert found.within is not None
    in_time = [total_ns <= 150_000_000 for total_ns in times]
    surely = [total_ns <= 150_000_000 / 1.05 for total_ns in times]
    assert sum(surely) / len(times) <= found.within <= sum(in_time) / len(times)


@given(st.lists(st.lists(TIMES, max_size=30), min_size=1, max_size=5))
def test_several_workers_together_are_one(workers: list[list[int]]) -> None:
    alone, apart = Spent(), [Spent() for _ in workers]
    for spent, times in zip(apart, workers, strict=True):
        for total_ns in times:
            alone.add([timed(total_ns)])
            spent.add([timed(total_ns)])
    assert spending(apart, 150, NOW_NS) == spending([alone], 150, NOW_NS)


def test_each_part_has_what_it_took_and_the_rest_is_what_is_left() -> None:
    spent = Spent()
    spent.add([timed(100_000_000, wait_ns=40_000_000, auth_ns=1_000_000, features_ns=9_000_000, model_ns=30_000_000)])
    found = spending([spent], 150, NOW_NS).parts
    wanted = {"wait": 40, "auth": 1, "features": 9, "model": 30, "rest": 20, "total": 100}
    assert list(found) == list(PARTS)
    assert {part: times["p50_ms"] for part, times in found.items()} == pytest.approx(wanted, rel=0.05)


def test_what_is_older_than_ten_minutes_and_what_no_door_has_timed_is_passed_over() -> None:
    spent = Spent()
    spent.add([timed(5_000_000, NOW_NS - (RECENT_S + 10) * S)])
    spent.add([timed(0)])
    spent.add([timed(7_000_000)])
    assert spending([spent], 150, NOW_NS).requests == 1
    assert spent.to_json()["total"]["count"] == 2


def test_no_requests_are_no_time_rather_than_none() -> None:
    found = spending([], 150, NOW_NS)
    assert (found.requests, found.within) == (0, None)
    assert all(took is None for times in found.parts.values() for took in times.values())


@given(st.lists(TIMES, max_size=50))
def test_the_histogram_counts_all_and_says_how_many_were_at_most_each_bound(times: list[int]) -> None:
    spent = Spent()
    for total_ns in times:
        spent.add([timed(total_ns)])
    shown = spent.to_json()
    assert shown["bounds"] == list(BOUNDS_S)
    assert shown["total"]["at_most"] == [sum(took <= bound * 1e9 for took in times) for bound in BOUNDS_S]
    assert shown["total"]["count"] == len(times)
    assert shown["total"]["sum"] == pytest.approx(sum(times) / 1e9)


def test_the_record_keeps_the_times_and_reads_segments_that_have_none() -> None:
    decisions = timed(9, wait_ns=4, auth_ns=3, features_ns=2)
    raw = bytes(frame_author(0, decisions.author) + frame_decisions(0, decisions))
    (found,) = [item for item, _ in read_frames(raw, {}) if isinstance(item, Decisions)]
    assert (found.wait_ns, found.auth_ns, found.features_ns, found.total_ns) == (4, 3, 2, 9)

    _, now = ([*parts] for parts, _ in read_parts(raw))
    for n_later, total_ns in ((2, 9), (6, 0)):
        payload = msgspec.msgpack.encode(now[:-n_later])
        old = bytes(frame_author(0, decisions.author)) + struct.pack("<II", len(payload), zlib.crc32(payload)) + payload
        (found,) = [item for item, _ in read_frames(old, {}) if isinstance(item, Decisions)]
        assert (found.base, found.entities, found.total_ns) == (decisions.base, [], total_ns)
        assert (found.context.parent, found.written_ns) == ("", 0)
