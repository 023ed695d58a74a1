"""How the values of a field, or the scores of an output, lie in the reference: read from a bundle's `profile.json`.

Of numbers the shares above each decile are watched, of categories the share of each, of both what is missing. What took
a default is missing, in the reference as in what is decided.

Bundles that were sealed before `above` was in the profile tell deciles only, and where values repeat, a share above a
decile is anything between two tenths. Both are taken as known no better than that: such bundles see less, and give no
false alarm for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np

from scoreline.core.field import Field
from scoreline.core.link import Floats

MOST_SLOTS: Final = 32  # categories that are watched for themselves; the rarer ones together are one
OTHERS: Final = "others"
Ints = np.ndarray[Any, np.dtype[np.int64]]


def none() -> Floats:
    return np.empty(0)


@dataclass(frozen=True, slots=True)
class Spread:
    """One field or output. Shares are those of rows that are not missing.

    `labels` say what each share is of: a cut (the share strictly above it) or a category; it lies between `least` and
    `most` in the reference, and its days `daily` logits around it. `slots` has the share of each category, by code.
    `bins` are the shares between cuts, or of slots, and `mean_scores` the mean score of each and of what is missing:
    NaN where it is not known. `missing` and `missing_daily` are the same of missing rows, of all `n_rows`. Of a field
    with `is_known` false the reference has no value: there is nothing to hold against.
    """

    name: str
    n_rows: float
    is_known: bool = False
    labels: tuple[float | str | int, ...] = ()
    least: Floats = field(default_factory=none)
    most: Floats = field(default_factory=none)
    daily: Floats = field(default_factory=none)
    bins: Floats = field(default_factory=none)
    mean_scores: Floats = field(default_factory=none)
    slots: Ints | None = None
    missing: float = 0.0
    missing_daily: float = 0.0
    mean: float = np.nan

    @classmethod
    def of_field(cls, field: Field, n_rows: int, found: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError where the profile is not one."""
        missing = float(found["missing"])
        if missing >= 1 or _has_only_its_default(field, found):
            return cls(field.name, n_rows)
        if field.type == "category":
            facts = _categories(field, np.array(found["counts"], dtype=np.float64), found)
        else:
            facts = _numbers(found) | {"mean": float(found["mean"])}
        daily = found.get("daily", {}).get("missing", 0.0)
        return cls(field.name, n_rows, True, missing=missing, missing_daily=float(daily), **facts)

    @classmethod
    def of_score(cls, name: str, n_rows: int, found: Mapping[str, Any]) -> Self:
        """Raises as `of_field`."""
        return cls(name, n_rows, True, mean=float(found["mean"]), **_numbers(found))

    @property
    def n_present(self) -> float:
        return self.n_rows * (1 - self.missing)


def _has_only_its_default(field: Field, found: Mapping[str, Any]) -> bool:
    """Whether a bundle of before says so of a field that its reference did not have: since then it is missing."""
    default = field.default_value
    if default is None or found["missing"] > 0:
        return False
    if field.type == "category":
        counts = found["counts"]
        return "mean_scores" not in found and counts[int(default)] == sum(counts)
    return "above" not in found and found["least"] == found["greatest"] == default


def _numbers(found: Mapping[str, Any]) -> dict[str, Any]:
    deciles = np.array(found["deciles"], dtype=np.float64)
    cuts, first = np.unique(deciles, return_index=True)
    upto = np.append(first[1:], len(deciles))  # how many deciles lie at each cut or below
    if "above" in found:
        least = most = np.array(found["above"], dtype=np.float64)[first]
        bins = -np.diff(np.concatenate([[1.0], most, [0.0]]))
    else:
        most, least = 1 - upto / 10, np.maximum(0.9 - upto / 10, 0.0)
        bins = np.diff(np.concatenate([[0.0], upto / 10, [1.0]]))
    days = np.array(found.get("daily", {}).get("shares", np.zeros(len(deciles))), dtype=np.float64)
    means = _floats(found.get("mean_scores"), len(deciles) + 2)
    kept = np.concatenate([[0], upto, [len(deciles) + 1]])
    labels = tuple(cuts.tolist())
    return {
        "labels": labels, "least": least, "most": most, "daily": days[first], "bins": bins, "mean_scores": means[kept],
    }  # fmt: skip


def _categories(field: Field, counts: Floats, found: Mapping[str, Any]) -> dict[str, Any]:
    """The most frequent ones, in the order of their codes, and one share for all others."""
    n = len(counts)
    if n != len(field.categories) or not counts.sum() > 0:
        raise ValueError
    kept = np.arange(n) if n <= MOST_SLOTS else np.sort(np.argsort(-counts, kind="stable")[: MOST_SLOTS - 1])
    n_slots = min(n, MOST_SLOTS)
    slots = np.full(n, n_slots - 1, dtype=np.int64)
    slots[kept] = np.arange(len(kept))
    totals = np.bincount(slots, counts, n_slots)
    means = _floats(found.get("mean_scores"), n + 1)
    scored = np.bincount(slots, counts * np.nan_to_num(means[:-1]), n_slots)
    is_told = (totals > 0) & ("mean_scores" in found)
    by_slot = np.where(is_told, scored / np.maximum(totals, 1), np.nan)
    days = np.array(found.get("daily", {}).get("shares", np.zeros(n)), dtype=np.float64)
    widest = np.zeros(n_slots)
    np.maximum.at(widest, slots, days)
    shares = totals / totals.sum()
    words = [field.categories[code] for code in kept] + [OTHERS] * (n > MOST_SLOTS)
    return {
        "labels": tuple(words), "least": shares, "most": shares, "daily": widest, "bins": shares,
        "mean_scores": np.append(by_slot, means[-1]), "slots": slots,
    }  # fmt: skip


def _floats(given: Any, size: int) -> Floats:
    """Numbers, of None NaN; all of them where nothing is given."""
    found = np.full(size, np.nan) if given is None else np.array(given, dtype=np.float64)
    if found.shape != (size,):
        raise ValueError
    return found
