"""A bundle's reference as drift needs it: what is counted of decisions, what is bet on it, and with which weight."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, Self

import numpy as np

from scoreline.core.errors import BundleError
from scoreline.core.link import Floats
from scoreline.core.manifest import Manifest, canonical_json
from scoreline.drift.counts import CUTS, Layout
from scoreline.drift.spread import MEAN, MISSING, Ints, Spread
from scoreline.evidence import tolerance as tolerated
from scoreline.evidence.detector import (
    MEAN_BETS,
    SHARE_BETS,
    SHIFTS,
    STAKES,
    log_e_shares,
    mean_bets,
    share_bets,
)
from scoreline.evidence.tolerance import Tolerance, shifted

MOST_REPEATED: Final = 0.01  # of a reference whose rows are distinct
FORMAT: Final = 2  # of counts and bets: evidence of another one is none


class Scores(NamedTuple):
    """How the scores of an output become numbers x in [0, 1], and how these lie in the reference.

    x = (score - least) / width, cut off; of a width of 0 they are all 0. `daily` is how far the mean of days lies from
    that of all; `uncertainty` the mean of score (1 - score), where scores are probabilities.
    """

    least: float
    width: float
    mean: float
    deviation: float
    daily: float
    uncertainty: float | None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError where it is no part of a profile."""
        uncertainty = found.get("uncertainty")
        least, width = 0.0, 1.0
        if uncertainty is None:
            least, width = float(found["least"]), float(found["greatest"]) - float(found["least"])
        unit = width or 1.0
        daily = float(found.get("daily", {}).get("mean", 0.0))
        moments = (float(found["mean"]) - least) / unit, float(found["deviation"]) / unit, daily / unit
        return cls(least, width, *moments, uncertainty)

    def scaled(self, scores: Floats) -> Floats:
        return np.clip((scores - self.least) / self.width, 0.0, 1.0) if self.width else np.zeros(len(scores))


class Share(NamedTuple):
    """A share that is watched: of which subject, what it is of, and where its hits and its rows are counted."""

    subject: int
    words: Mapping[str, Any]
    hits_at: int
    rows_at: int
    least: float
    most: float
    n_rows: float
    daily: float


@dataclass(frozen=True)
class Reference:
    """One version's reference, and the tolerances it is held to. Subjects are its outputs, then its fields."""

    manifest: Manifest
    scores: tuple[Spread, ...]
    fields: tuple[Spread, ...]
    outputs: tuple[Scores, ...]
    tolerance: Tolerance
    has_distinct_rows: bool

    @classmethod
    def of(cls, manifest: Manifest, profile: Any, tolerance: Tolerance) -> Self:
        """Raises BundleError where the profile is not that of this manifest."""
        try:
            return cls._of(manifest, profile, tolerance)
        except (KeyError, TypeError, ValueError, IndexError):
            raise BundleError("profile.json does not describe the fields and scores of this model") from None

    @classmethod
    def _of(cls, manifest: Manifest, profile: Any, tolerance: Tolerance) -> Self:
        n_rows, names = int(profile["rows"]), manifest.classes or (manifest.output,)
        scores, fields = profile["scores"], manifest.schema.fields
        return cls(
            manifest,
            tuple(Spread.of_score(name, n_rows, scores[name]) for name in names),
            tuple(Spread.of_field(field, n_rows, profile["fields"][field.name]) for field in fields),
            tuple(Scores.of(scores[name]) for name in names),
            tolerance,
            bool(profile.get("repeated", 1.0) <= MOST_REPEATED),
        )

    @cached_property
    def basis(self) -> str:
        """The name of what evidence rests on: the format of counts, a dot, and a hash of reference and tolerances."""
        rests_on = canonical_json([self.manifest.digest, asdict(self.tolerance)])
        return f"{FORMAT}.{hashlib.sha256(rests_on).hexdigest()[:40]}"

    @property
    def subjects(self) -> tuple[Spread, ...]:
        return self.scores + self.fields

    @cached_property
    def numbers(self) -> Ints:
        """Positions of the fields that are numbers, not categories."""
        return np.array([at for at, field in enumerate(self.manifest.schema.fields) if field.type != "category"], int)

    @cached_property
    def categories(self) -> Ints:
        """Positions of the other fields."""
        return np.setdiff1d(np.arange(len(self.fields)), self.numbers)

    @cached_property
    def slots_of(self) -> dict[int, slice]:
        """Where the slots of a category are counted, by the field's position."""
        found, start = {}, self.layout.at["slots"].start
        for at in self.categories.tolist():
            found[at] = slice(start, start + len(self.fields[at].labels))
            start = found[at].stop
        return found

    @cached_property
    def layout(self) -> Layout:
        slots = sum(len(self.fields[at].labels) for at in self.categories)
        has_chances = len(self.outputs) == 1 and self.outputs[0].uncertainty is not None
        thresholds = len(self.manifest.policy.thresholds) if has_chances else 0
        return Layout(len(self.fields), len(self.numbers), slots, len(self.scores), thresholds)

    @cached_property
    def shares(self) -> tuple[Share, ...]:
        """Every share that is watched; those of scores first."""
        at, found = self.layout.at, []
        for output, spread in enumerate(self.scores):
            first = at["score_above"].start + output * CUTS
            found += _shares(output, spread, first, at["rows"].start)
        for place, field in enumerate(self.numbers.tolist()):
            first = at["above"].start + place * CUTS
            is_boolean = self.manifest.schema.fields[field].type == "boolean"
            rows_at = at["present"].start + field
            found += _shares(len(self.scores) + field, self.fields[field], first, rows_at, is_boolean=is_boolean)
        for field, slots in self.slots_of.items():
            found += _shares(len(self.scores) + field, self.fields[field], slots.start, at["present"].start + field)
        for field, spread in enumerate(self.fields):
            if spread.is_known:
                places = at["missing"].start + field, at["rows"].start
                known = spread.missing, spread.missing, spread.n_rows, spread.missing_daily
                found.append(Share(len(self.scores) + field, {"of": MISSING, "what": None}, *places, *known))
        return tuple(found)

    def log_e(self, counts: Floats) -> Floats:
        """What ticks with counts (..., size) say of each bet: of each share, then of the mean of each score."""
        hits, misses, hits_at, rows_at = self._share_bets
        of_shares = log_e_shares(hits, misses, counts[..., hits_at], counts[..., rows_at])
        return np.concatenate(
            [of_shares.reshape(*counts.shape[:-1], -1), counts[..., self.layout.at["log_e"]]], axis=-1
        )

    @cached_property
    def mean_bets(self) -> tuple[Floats, Floats]:
        """Slopes and limits of bets on the mean score, of shape (outputs, 24)."""
        return mean_bets(*self.mean_limits)

    @cached_property
    def mean_limits(self) -> tuple[Floats, Floats]:
        """Between which the mean of each output's scaled scores is no change; of scores that are all the same none."""
        _, width, mean, deviation, daily, _ = (
            np.array(each, dtype=np.float64) for each in zip(*self.outputs, strict=True)
        )
        n_rows = np.array([spread.n_rows for spread in self.scores])
        low, high = tolerated.mean_limits(mean, deviation, n_rows, daily, self.tolerance, self._errors)
        return np.where(width > 0, low, 0.0), np.where(width > 0, high, 1.0)

    @cached_property
    def _errors(self) -> float:
        return tolerated.standard_errors(len(self.shares) + len(self.outputs))

    @cached_property
    def subject_of(self) -> Ints:
        """The subject of each bet."""
        of_shares = np.repeat(np.array([share.subject for share in self.shares], dtype=np.int64), SHARE_BETS)
        return np.concatenate([of_shares, np.repeat(np.arange(len(self.scores)), MEAN_BETS)])

    @cached_property
    def is_bet(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which places of the bets hold one."""
        hits, _, _, _ = self._share_bets
        slopes, _ = self.mean_bets
        return np.concatenate([hits.ravel() != 0, slopes.ravel() != 0])

    @cached_property
    def weights(self) -> Floats:
        """Of each bet: half is the scores', so that they are seen to move early whatever the number of fields.

        Of an output half is on its mean; a field's is the same for each of its bets.
        """
        is_mean = np.arange(len(self.is_bet)) >= len(self.shares) * SHARE_BETS
        is_score = self.subject_of < len(self.scores)
        group = self.subject_of * 2 + is_mean
        per_group = np.bincount(group, self.is_bet, 2 * len(self.subjects))
        found = np.where(self.is_bet, 1 / np.maximum(per_group, 1)[group], 0.0)
        for members in (is_score, ~is_score):
            total = found[members].sum()
            found[members] /= total or 1.0
        both = found[is_score].any() and found[~is_score].any()
        return found / 2 if both else found

    def words(self, bet: int) -> dict[str, Any]:
        """What a bet is `of` (as `Spread.words` has it, or the mean), of `what`, and whether it is `up` or `down`."""
        share, place = divmod(bet, SHARE_BETS)
        if share < len(self.shares):
            return {**self.shares[share].words, "direction": "up" if place < len(SHIFTS) else "down"}
        place = (bet - len(self.shares) * SHARE_BETS) % MEAN_BETS
        return {"of": MEAN, "what": None, "direction": "up" if place < len(STAKES) else "down"}

    def rows_needed(self, log_alarm_at: float) -> int:
        """How many rows show, on average, that scores of the first output have moved up by a logit; 0: none would."""
        n_cuts, place = len(self.scores[0].labels), int(np.flatnonzero(SHIFTS == 1.0)[0])
        hits, misses, _, _ = self._share_bets
        moved = shifted(self.share_limits[1][:n_cuts], 1.0)
        gains = moved * hits[:n_cuts, place] + (1 - moved) * misses[:n_cuts, place]
        weights = self.weights[place : n_cuts * SHARE_BETS : SHARE_BETS]
        rows = (log_alarm_at - np.log(weights[gains > 0])) / gains[gains > 0]
        return int(np.ceil(rows.min(initial=np.inf))) if len(rows) else 0

    @cached_property
    def share_limits(self) -> tuple[Floats, Floats]:
        """Between which each share is no change."""
        least, most, n_rows, daily = np.array([share[4:] for share in self.shares], dtype=np.float64).T
        return tolerated.share_limits(least, most, n_rows, daily, self.tolerance, self._errors)

    @cached_property
    def _share_bets(self) -> tuple[Floats, Floats, Ints, Ints]:
        places = np.array([(share.hits_at, share.rows_at) for share in self.shares], dtype=np.int64)
        return (*share_bets(*self.share_limits), places[:, 0], places[:, 1])


def _shares(subject: int, spread: Spread, first: int, rows_at: int, *, is_boolean: bool = False) -> list[Share]:
    known = zip(spread.words(is_boolean=is_boolean), spread.least, spread.most, spread.daily, strict=True)
    return [
        Share(subject, words, first + place, rows_at, float(least), float(most), spread.n_present, float(daily))
        for place, (words, least, most, daily) in enumerate(known)
    ]
