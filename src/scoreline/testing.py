"""Conformance: what every implementation of a plug point must do, for ours and for yours.

Each check raises AssertionError with what was expected. They run in any test runner.
"""

from collections.abc import Callable
from itertools import pairwise

import numpy as np

from scoreline.core.errors import EngineFailed
from scoreline.core.link import Floats
from scoreline.core.ports import Engine

BuildEngine = Callable[[bytes, int, int], Engine]


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
