"""The fold: from decisions of one version to counts, additive over any partition of them in any order."""

from typing import Any

import numpy as np

from scoreline.core.link import Floats
from scoreline.drift.counts import CUTS
from scoreline.drift.reference import Reference
from scoreline.drift.spread import Ints
from scoreline.evidence.detector import log_e_means

Bools = np.ndarray[Any, np.dtype[np.bool_]]


class Fold:
    """Folds decisions of one version. Pure, but for the arrays it has made once."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        numbers, categories = reference.numbers, reference.categories
        self._cuts = _cuts([reference.fields[at].labels for at in numbers])
        self._score_cuts = _cuts([spread.labels for spread in reference.scores])
        sizes = [len(reference.manifest.schema.fields[at].categories) for at in categories]
        self._n_categories = np.array(sizes, dtype=np.float64)
        self._first_code = np.concatenate([[0], np.cumsum(sizes)[:-1]]).astype(np.int64)[: len(sizes)]
        self._slot_of = _slots(reference)

    def __call__(self, values: Floats, scores: Floats) -> Floats:
        """Counts of rows: values (n_rows, n_fields), NaN where missing or a default; scores (n_rows, outputs)."""
        layout = self.reference.layout
        found = np.zeros(layout.size)
        at = layout.at
        found[at["rows"]] = len(values)
        is_present = ~np.isnan(values)
        numbers = np.ascontiguousarray(values[:, self.reference.numbers].T)
        found[at["above"]] = _above(numbers, self._cuts)
        found[at["sums"]] = np.nansum(numbers, axis=1)
        if len(self._n_categories):
            columns = self.reference.categories
            is_present[:, columns], found[at["slots"]] = self._categories(values[:, columns])
        found[at["present"]] = is_present.sum(axis=0)
        found[at["missing"]] = len(values) - found[at["present"]]
        self._add_scores(found, scores)
        return found

    def _categories(self, codes: Floats) -> tuple[Bools, Ints]:
        """Which rows have a category, and how many have one of each slot."""
        is_known = (codes >= 0) & (codes < self._n_categories)  # of NaN neither
        places = np.where(is_known, codes, 0).astype(np.int64) + self._first_code
        slots = self.reference.layout.slots
        found: Ints = np.bincount(self._slot_of[places[is_known]], minlength=slots + 1)[:slots]
        return is_known, found

    def _add_scores(self, found: Floats, scores: Floats) -> None:
        reference, place_of = self.reference, self.reference.layout.at
        found[place_of["score_above"]] = _above(np.ascontiguousarray(scores.T), self._score_cuts)
        found[place_of["score_sums"]] = scores.sum(axis=0)
        scaled = np.stack([each.scaled(scores[:, at]) for at, each in enumerate(reference.outputs)], axis=1)
        slopes, limits = reference.mean_bets
        found[place_of["log_e"]] = log_e_means(slopes, limits, scaled).ravel()
        if reference.outputs[0].uncertainty is not None:
            found[place_of["uncertainty"]] = (scores * (1 - scores)).sum(axis=0)
        for place, threshold in enumerate(reference.manifest.policy.thresholds[: reference.layout.thresholds]):
            first = scores[:, 0]
            found[place_of["wrong"].start + place] = np.where(first >= threshold, 1 - first, first).sum()


def _cuts(labels: list[tuple[float | str | int, ...]]) -> Floats:
    """Cuts of each column, filled up with what nothing lies above: shape (columns, CUTS)."""
    found = np.full((len(labels), CUTS), np.inf)
    for place, cuts in enumerate(labels):
        found[place, : len(cuts)] = cuts
    return found


def _above(columns: Floats, cuts: Floats) -> Ints:
    """How many values of each column lie strictly above each of its cuts: shape (columns x CUTS)."""
    found: Ints = np.stack([np.count_nonzero(columns > cuts[:, [cut]], axis=1) for cut in range(CUTS)], axis=1)
    return found.ravel()


def _slots(reference: Reference) -> Ints:
    """The slot of each code, of all category fields one after the other; of a field without a reference one behind."""
    found, first = [], 0
    for at in reference.categories:
        spread, n = reference.fields[at], len(reference.manifest.schema.fields[at].categories)
        found.append(np.full(n, reference.layout.slots) if spread.slots is None else spread.slots + first)
        first += len(spread.labels)
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)
