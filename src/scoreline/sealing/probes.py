"""Rows that try a model where engines differ: at and beside thresholds, missing, denormal, extreme, each category."""

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import compress
from typing import Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.schema import Field, Schema
from scoreline.sealing.trained import Precision, Split

MAX_SPLITS: Final = 20_000
_DENORMAL: Final = (0.0, -0.0, 1e-45, -1e-45, 1.1754942e-38)


def probe_rows(
    schema: Schema,
    reference: Floats,
    splits: Sequence[Split],
    seed: int,
    slopes: Sequence[Sequence[float]] = (),
    precision: Precision = "float32",
    never_missing: Collection[int] = (),
) -> Floats:
    """Float64 rows (n, n_fields), each a reference row with one or more fields replaced; drawn with a fixed seed.

    No field is replaced by a value beyond its declared range.
    Fields in `never_missing` stay as they are in the reference where they would be missing.
    """
    rng = np.random.default_rng(seed)
    positions: list[int] = []
    values: list[float] = []
    as_compared = np.dtype(precision).type
    for position, threshold in _sample(splits, rng):
        at = as_compared(threshold)
        with np.errstate(over="ignore"):  # beside the last of all numbers is none that a row could hold
            beside = at, np.nextafter(at, as_compared(-np.inf)), np.nextafter(at, as_compared(np.inf))
        for value in filter(np.isfinite, beside):
            positions.append(position)
            values.append(float(value))
    for position, field in enumerate(schema.fields):
        for value in (np.nan, *_odd(field)):
            positions.append(position)
            values.append(float(value))
    within = [_may_be_sent(schema.fields[position], value) for position, value in zip(positions, values, strict=True)]
    positions, values = list(compress(positions, within)), list(compress(values, within))
    single = reference[rng.integers(0, len(reference), len(values))]
    single[np.arange(len(values)), positions] = values
    sparse = reference[rng.integers(0, len(reference), 500)]
    sparse[rng.random(sparse.shape) < 0.5] = np.nan
    nothing = np.full((1, len(schema.fields)), np.nan)
    found = np.concatenate([single, sparse, nothing, *_steepest(schema, slopes)])
    kept = sorted(never_missing)
    found[:, kept] = np.where(np.isnan(found[:, kept]), reference[0, kept], found[:, kept])
    return found


def _odd(field: Field) -> Sequence[float]:
    if field.type == "category":
        return range(len(field.categories))
    return (0.0, 1.0) if field.type == "boolean" else (*_DENORMAL, *field.bounds)


def _may_be_sent(field: Field, value: float) -> bool:
    """Whether a value lies within its field's range, or is missing: the door lets no other pass."""
    low, high = field.bounds
    return math.isnan(value) or (value in (0.0, 1.0) if field.type == "boolean" else low <= value <= high)


def _steepest(schema: Schema, slopes: Sequence[Sequence[float]]) -> Iterator[Floats]:
    """The rows where a linear model's margin is least and greatest: every field at the end its weight points to."""
    low, high = np.array([field.bounds for field in schema.fields]).T
    for weights in slopes:
        upwards = np.asarray(weights) > 0
        yield np.stack([np.where(upwards, high, low), np.where(upwards, low, high)])


def _sample(splits: Sequence[Split], rng: np.random.Generator) -> Sequence[Split]:
    if len(splits) <= MAX_SPLITS:
        return splits
    return [splits[i] for i in rng.choice(len(splits), MAX_SPLITS, replace=False)]
