"""The profile: how features, scores and outcomes lie on the reference rows. Drift is measured against it."""

from typing import Any, Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.policy import ThresholdPolicy
from scoreline.core.schema import Field, Schema
from scoreline.evidence.cuts import cuts_of
from scoreline.sealing.daily import Days, Ints, logit_of

DECILES: Final = np.arange(1, 10) / 10
BOOLEAN: Final = [0.0]  # the share of what is true


def make_profile(
    schema: Schema,
    values: Floats,
    scores: Floats,
    output_names: tuple[str, ...],
    policy: ThresholdPolicy,
    days: Days,
    *,
    are_probabilities: bool,
) -> dict[str, Any]:
    """Plain JSON: per field its missing share and deciles or category counts; per output the same; outcome shares.

    What took a default is NaN in `values`: it counts as missing. `days` says which rows are of the same day; without
    days it does not say how far they lie apart.
    """
    codes = np.asarray(policy.codes(scores), dtype=np.int64)
    return {
        "rows": len(values),
        "repeated": _repeated(values),
        "fields": {
            field.name: _field(field, values[:, position], scores[:, 0], days)
            for position, field in enumerate(schema.fields)
        },
        "scores": {
            name: _score(scores[:, position], days, is_probability=are_probabilities)
            for position, name in enumerate(output_names)
        },
        "outcomes": {name: float((codes == code).mean()) for code, name in enumerate(policy.outcomes)},
    }


def _repeated(values: Floats) -> float:
    """The share of rows that stand there before."""
    rows = np.ascontiguousarray(values)
    return 1 - len(np.unique(rows.view(np.dtype((np.void, rows.strides[0]))))) / len(rows)


def _field(field: Field, column: Floats, scores: Floats, days: Days) -> dict[str, Any]:
    is_missing = np.isnan(column)
    present, theirs = column[~is_missing], scores[~is_missing]
    found: dict[str, Any] = {"missing": float(is_missing.mean())}
    if field.type == "category":
        n_bins = len(field.categories)
        codes = present.astype(np.int64)
        found["counts"] = np.bincount(codes, minlength=n_bins).tolist()
    elif len(present):
        found |= _numbers(present, BOOLEAN if field.type == "boolean" else None)
        n_bins = len(found["cuts"]) + 1
        codes = _bins(present, found["cuts"])
    if len(present):
        found["mean_scores"] = [*_means(codes, theirs, n_bins), _mean(scores[is_missing])]
        if days.rows:
            found["daily"] = _daily(field, column, found.get("cuts"), days)
    return found


def _daily(field: Field, column: Floats, cuts: list[float] | None, days: Days) -> dict[str, Any]:
    """How far days lie away, in logits: the missing share, and each share that is watched, in their order."""

    def missing(rows: Floats) -> Floats:
        return logit_of(np.isnan(rows).sum(), len(rows))

    def shares(rows: Floats) -> Floats:
        present = rows[~np.isnan(rows)]
        if cuts is not None:
            return _above(present, cuts)
        return logit_of(np.bincount(present.astype(np.int64), minlength=len(field.categories)), len(present))

    return {"missing": days.away(missing, column), "shares": days.away(shares, column)}


def _score(column: Floats, days: Days, *, is_probability: bool) -> dict[str, Any]:
    found = _numbers(column)
    if is_probability and found["least"] >= 0 and found["greatest"] <= 1:
        found["uncertainty"] = float((column * (1 - column)).mean())
    if days.rows:
        found["daily"] = {
            "mean": days.away(lambda rows: np.asarray(rows.mean()), column),
            "shares": days.away(lambda rows: _above(rows, found["cuts"]), column),
        }
    return found


def _numbers(column: Floats, cuts: list[float] | None = None) -> dict[str, Any]:
    """`above` has the shares strictly above each cut: where numbers repeat they are not .9, .8, ... .1."""
    deciles = np.quantile(column, DECILES).tolist()
    cuts = cuts_of(deciles).tolist() if cuts is None else cuts
    return {
        "least": float(column.min()),
        "greatest": float(column.max()),
        "mean": float(column.mean()),
        "deviation": float(column.std()),
        "deciles": deciles,
        "cuts": cuts,
        "above": (_hits(column, cuts) / len(column)).tolist(),
    }


def _bins(column: Floats, cuts: list[float]) -> Ints:
    """How many cuts each number lies strictly above."""
    return np.searchsorted(np.array(cuts), column, side="left")


def _hits(column: Floats, cuts: list[float]) -> Ints:
    """How many numbers lie strictly above each cut."""
    by_bin = np.bincount(_bins(column, cuts), minlength=len(cuts) + 1)
    found: Ints = by_bin[::-1].cumsum()[-2::-1]
    return found


def _above(column: Floats, cuts: list[float]) -> Floats:
    return logit_of(_hits(column, cuts), len(column))


def _means(codes: Ints, scores: Floats, n_bins: int) -> list[float | None]:
    """The mean score of the rows of each bin; None of one without rows."""
    n_rows, sums = np.bincount(codes, minlength=n_bins), np.bincount(codes, scores, n_bins)
    return [total / n if n else None for total, n in zip(sums.tolist(), n_rows.tolist(), strict=True)]


def _mean(scores: Floats) -> float | None:
    return float(scores.mean()) if len(scores) else None
