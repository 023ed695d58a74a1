"""Conformance: what every implementation of a plug point must do, for ours and for yours.

Each check raises AssertionError with what was expected. They run in any test runner.
"""

import asyncio
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from scoreline.core.errors import EngineFailed
from scoreline.core.link import Floats
from scoreline.core.ports import Engine, FeatureRow, FeatureStore, Views
from scoreline.core.schema import Scalar

BuildEngine = Callable[[bytes, int, int], Engine]
Put = Callable[[str, Sequence[FeatureRow]], None]


def check_engine(build: BuildEngine, model: bytes, n_outputs: int, rows: Floats) -> None:
    """Holds an engine to its contract (`core.ports.Engine`).

    `build(model, n_fields, n_outputs)` loads it; `rows`, float64 (n_rows, n_fields), are at least 100 that it accepts,
    some with missing values.
    """
    n_fields = rows.shape[1]
    engine = build(model, n_fields, n_outputs)
    assert engine.name and " " in engine.name, "an engine's name is its library and version"
    margins = engine.predict(rows)
    assert margins.dtype == np.float64 and margins.shape == (len(rows), n_outputs), "margins: float64, a row per row"
    assert np.isfinite(margins).all(), "margins are finite"
    _check_rows_and_answers_are_left_alone(engine, rows, margins)
    _check_same_bits_in_any_company(engine, rows, margins)
    _check_engines_are_apart(build, model, rows, margins)
    _check_contributions_add_up(engine, rows, margins)
    _check_refusals(build, model, n_fields, n_outputs)


def _check_same_bits_in_any_company(engine: Engine, rows: Floats, margins: Floats) -> None:
    alone = np.concatenate([engine.predict(rows[row : row + 1]) for row in range(len(rows))])
    assert _same_bits(alone, margins), "a row alone has the bits it has in a batch"
    cuts = [0, 0, 2, 5, 68, 99, len(rows)]
    pieces = [engine.predict(rows[start:end]) for start, end in pairwise(cuts)]
    assert _same_bits(np.concatenate(pieces), margins), "a row has the same bits in a batch of any size, and of none"
    backwards = engine.predict(np.ascontiguousarray(rows[::-1]))
    assert _same_bits(np.ascontiguousarray(backwards[::-1]), margins), "a row's bits do not depend on its place"


def _check_rows_and_answers_are_left_alone(engine: Engine, rows: Floats, margins: Floats) -> None:
    given = rows.copy()
    given.flags.writeable = False
    assert _same_bits(engine.predict(given), margins), "rows that cannot be written are read all the same"
    first = engine.predict(rows[:1])
    kept = first.copy()
    engine.predict(rows[1:2])
    engine.predict(rows)
    assert _same_bits(first, kept), "an answer is the caller's: later calls leave it as it is"


def _check_contributions_add_up(engine: Engine, rows: Floats, margins: Floats) -> None:
    """Within 1e-5 of the margin, or of 1 if that is more, where the engine offers them."""
    found = engine.contributions(rows)
    if found is None:
        return
    shape = (*margins.shape, rows.shape[1] + 1)
    assert found.dtype == np.float64 and found.shape == shape, "contributions: float64, one per field and a base value"
    apart = np.abs(found.sum(axis=2) - margins) / np.maximum(1.0, np.abs(margins))
    assert apart.max() <= 1e-5, "contributions and base value add up to the margin"
    assert np.ptp(found[:, :, -1], axis=0).max() == 0.0, "the base value is the same for every row"
    alone = engine.contributions(rows[:1])
    assert alone is not None and np.allclose(alone, found[:1], rtol=0.0, atol=1e-6), "a row alone is explained the same"
    assert _same_bits(engine.predict(rows), margins), "margins are what they were after contributions"


def _check_engines_are_apart(build: BuildEngine, model: bytes, rows: Floats, margins: Floats) -> None:
    first, second = (build(model, rows.shape[1], margins.shape[1]) for _ in range(2))
    for row in range(10):
        assert _same_bits(first.predict(rows[row : row + 1]), margins[row : row + 1]), "engines share no state"
        second.predict(rows[-1:])
    del second
    assert _same_bits(first.predict(rows), margins), "an engine outlives another of the same model"


def _check_refusals(build: BuildEngine, model: bytes, n_fields: int, n_outputs: int) -> None:
    engine = build(model, n_fields, n_outputs)
    for width in (n_fields - 1, n_fields + 1):
        for n_rows in (1, 3):
            _check_fails(engine.predict, np.zeros((n_rows, width)), what=f"rows of {width} fields")
    damages = {"nothing": b"", "half of it": model[: len(model) // 2], "text": b"no model", "zeros": bytes(len(model))}
    for what, damaged in damages.items():
        _check_fails(build, damaged, n_fields, n_outputs, what=f"a model file that holds {what}")
    for width in (n_fields - 1, n_fields + 1):
        _check_fails(_load_and_score, build, model, width, n_outputs, what=f"a model for rows of {width} fields")


def _load_and_score(build: BuildEngine, model: bytes, n_fields: int, n_outputs: int) -> None:
    build(model, n_fields, n_outputs).predict(np.zeros((1, n_fields)))


def _check_fails(act: Callable[..., object], *given: object, what: str) -> None:
    try:
        act(*given)
    except EngineFailed:
        return
    raise AssertionError(f"{what}: EngineFailed is raised")


def _same_bits(found: Floats, wanted: Floats) -> bool:
    return found.shape == wanted.shape and found.tobytes() == wanted.tobytes()


def check_store(store: FeatureStore, put: Put) -> None:
    """Holds a feature store to its contract (`core.ports.FeatureStore`).

    `put(view, rows)` brings rows into it; it holds none of the views `check_a` and `check_b` yet.
    """
    values: dict[str, Scalar | None] = {"ratio": 0.1, "count": 12, "flag": True, "word": 'größer, "12"', "gap": None}
    first = FeatureRow("anna 1", 1_700_000_000_123_456_000, values)
    second = FeatureRow("ben:2", 1_700_000_001_000_000_000, {"ratio": -1e300, "count": 0, "flag": False})
    other = FeatureRow("anna 1", 1_600_000_000_000_000_000, {"ratio": 7.5})
    views = {"check_a": ("ratio", "count", "flag", "word", "gap", "nobody has it"), "check_b": ("ratio",)}
    put("check_a", [first, second])
    put("check_b", [other])
    wanted: list[list[FeatureRow | None]] = [[second, None], [None, None], [first, other]]
    people = ["ben:2", "nobody", "anna 1"]
    _check_found(store.get(views, people), wanted)
    _check_found(store.get({"check_b": ("ratio",)}, ["anna 1"]), [[other]])
    assert list(store.get(views, [])) == [], "nobody asked for, nobody found"
    asyncio.run(_check_real_time(store, views, people, wanted))
    older, newer = (FeatureRow("anna 1", first.time_ns + by, {"count": 3}) for by in (-(10**9), 10**9))
    put("check_a", [older])
    _check_found(store.get({"check_a": views["check_a"]}, ["anna 1"]), [[first]])
    put("check_a", [newer])
    _check_found(store.get({"check_a": views["check_a"]}, ["anna 1"]), [[newer]])
    put("check_a", [newer])
    _check_found(store.get({"check_a": views["check_a"]}, ["anna 1"]), [[newer]])


async def _check_real_time(
    store: FeatureStore, views: Views, people: Sequence[str], wanted: Sequence[Sequence[FeatureRow | None]]
) -> None:
    _check_found(await store.aget(views, people), wanted)
    many = [people[at % 3] for at in range(150)]
    _check_found(await store.aget(views, many), [wanted[at % 3] for at in range(150)])
    together = await asyncio.gather(*(store.aget(views, [people[at % 3]]) for at in range(100)))
    for at, found in enumerate(together):
        _check_found(found, [wanted[at % 3]])
    for turns in range(12):
        cancelled = asyncio.create_task(store.aget(views, people[:1]))
        for _ in range(turns):
            await asyncio.sleep(0)
        cancelled.cancel()
        await asyncio.gather(cancelled, return_exceptions=True)
        _check_found(await store.aget(views, people[2:]), wanted[2:])
    await store.aclose()
    _check_found(await store.aget(views, people), wanted)
    await store.aclose()


def _check_found(found: Sequence[Sequence[FeatureRow | None]], wanted: Sequence[Sequence[FeatureRow | None]]) -> None:
    """The wanted names, values with their types; a store may have answered more."""
    assert len(found) == len(wanted), "a row per entity, in the order asked"
    for rows, expected in zip(found, wanted, strict=True):
        assert len(rows) == len(expected), "a row per view, in the order asked"
        for row, one in zip(rows, expected, strict=True):
            assert (row is None) == (one is None), "None where a view has no row of the entity, and only there"
            if row is not None and one is not None:
                assert row.entity == one.entity and row.time_ns == one.time_ns, "the latest row, with its event time"
                assert _typed(row) == _typed(one), "values as they were put, of the same types, and no others"


def _typed(row: FeatureRow) -> dict[str, tuple[type, object]]:
    return {name: (type(value), value) for name, value in row.values.items()}
