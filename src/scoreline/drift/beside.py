"""What people ask for beside the evidence: PSI, KS, means and missing shares, and what scores say they get wrong.

None of it raises an alarm: how large a PSI is by chance alone depends on the traffic. Of a few rows nothing is told:
it would be chance, and a mean of one row is that row.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.drift.counts import CUTS
from scoreline.drift.reference import Reference
from scoreline.drift.spread import Spread

LEAST_ROWS: Final = 20
LEAST_SHARE: Final = 1e-4  # a bin without rows counts as this, or its PSI would have no bounds
ASSUMED: Final = "assumes that scores are calibrated: of rows with a score of 0.2 one in five has the outcome"
Json = dict[str, Any]


def moved_scores(reference: Reference, counts: Floats) -> Sequence[float | None]:
    """Of each subject, how far it moves the mean of the first score: the score itself, or by the field's bins alone.

    A field's is the sum over bins of (share now - share in the reference) x the reference's mean score there; None
    where the reference does not tell these, and where nothing was counted.
    """
    n_rows = counts[0]
    if not n_rows:
        return [None] * len(reference.subjects)
    means = counts[reference.layout.at["score_sums"]] / n_rows
    found: list[float | None] = [float(mean - each.mean) for mean, each in zip(means, reference.scores, strict=True)]
    for at, spread in enumerate(reference.fields):
        scores = spread.mean_scores
        if not spread.is_known or np.isnan(scores).all():
            found.append(None)
            continue
        bins, _ = _counted(reference, counts, at)
        now = np.append(bins, counts[reference.layout.at["missing"]][at]) / n_rows
        before = np.append(spread.bins * (1 - spread.missing), spread.missing)
        overall = float(np.nansum(before * scores))  # a bin the reference did not have is as the whole of it
        found.append(float((now - before) @ np.where(np.isnan(scores), overall, scores)))
    return found


def beside(reference: Reference, counts: Floats) -> Sequence[Json]:
    """Of each subject what was counted beside its reference, as plain JSON; None where too little was.

    `ks_at_least`: the largest distance of distribution functions at the cuts; between them it may be larger. The mean
    of a sensitive field is not told.
    """
    scores = [_score(reference, counts, output) for output in range(len(reference.scores))]
    return scores + [_field(reference, counts, field) for field in range(len(reference.fields))]


def expected_loss(reference: Reference, counts: Floats) -> Json | None:
    """What scores themselves say they get wrong, without outcomes; None where they are no probabilities."""
    n_rows, at = counts[0], reference.layout.at
    if n_rows < LEAST_ROWS or reference.outputs[0].uncertainty is None:
        return None
    policy = reference.manifest.policy
    wrong = zip(policy.outcomes[1:], policy.thresholds, counts[at["wrong"]] / n_rows, strict=False)
    return {
        "assumption": ASSUMED,
        "brier": float(counts[at["uncertainty"]].sum() / n_rows),
        "reference_brier": float(sum(each.uncertainty or 0.0 for each in reference.outputs)),
        "error_rates": [
            {"outcome": outcome, "threshold": threshold, "error_rate": float(rate)}
            for outcome, threshold, rate in wrong
        ],
    }


def _score(reference: Reference, counts: Floats, output: int) -> Json:
    spread, at, n_rows = reference.scores[output], reference.layout.at, counts[0]
    above = counts[at["score_above"]][output * CUTS :][: len(spread.labels)]
    facts: Json = {"reference_mean": spread.mean, "missing": None, "reference_missing": None}
    facts["mean"] = float(counts[at["score_sums"]][output] / n_rows) if n_rows >= LEAST_ROWS else None
    return facts | _distances(spread, _bins(above, n_rows), above, n_rows)


def _field(reference: Reference, counts: Floats, field: int) -> Json:
    spread, at, n_rows = reference.fields[field], reference.layout.at, counts[0]
    n_present = counts[at["present"]][field]
    facts: Json = {"mean": None, "reference_mean": None, "missing": None, "reference_missing": None}
    if spread.is_known:
        facts["reference_missing"] = spread.missing
    if n_rows >= LEAST_ROWS:
        facts["missing"] = float(counts[at["missing"]][field] / n_rows)
    if not np.isnan(spread.mean) and not reference.manifest.schema.fields[field].sensitive:
        facts["reference_mean"] = spread.mean
        if n_present >= LEAST_ROWS:
            facts["mean"] = float(counts[at["sums"]][np.searchsorted(reference.numbers, field)] / n_present)
    return facts | _distances(spread, *_counted(reference, counts, field), n_present)


def _counted(reference: Reference, counts: Floats, field: int) -> tuple[Floats, Floats]:
    """What was counted of a field in each bin, and, of a number, above each cut."""
    if field in reference.slots_of:
        return counts[reference.slots_of[field]], counts[:0]
    at, place = reference.layout.at, int(np.searchsorted(reference.numbers, field))
    above = counts[at["above"]][place * CUTS :][: len(reference.fields[field].labels)]
    return _bins(above, counts[at["present"]][field]), above


def _bins(above: Floats, n: float) -> Floats:
    found: Floats = -np.diff(np.concatenate([[n], above, [0.0]]))
    return found


def _distances(spread: Spread, bins: Floats, above: Floats, n: float) -> Json:
    if n < LEAST_ROWS or not spread.is_known:
        return {"psi": None, "ks_at_least": None}
    now, before = np.maximum(bins / n, LEAST_SHARE), np.maximum(spread.bins, LEAST_SHARE)
    is_used = (bins > 0) | (spread.bins > 0)
    psi = float(((now - before) * np.log(now / before))[is_used].sum())
    if not len(above):
        return {"psi": psi, "ks_at_least": None}
    away = np.maximum(above / n - spread.most, spread.least - above / n)
    return {"psi": psi, "ks_at_least": float(np.maximum(away, 0.0).max())}
