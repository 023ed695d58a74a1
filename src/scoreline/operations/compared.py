"""What is known of a challenger beside the champion, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.schema import Schema
from scoreline.evidence.paired import GridBet
from scoreline.evidence.planning import outcomes_to_safe
from scoreline.records.joined import Joined
from scoreline.records.shadowed import Progress
from scoreline.rollout.agreement import Agreement
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.policy import Policy

MOST_MISSING: Final = 0.05
ASSUMPTIONS: Final = (
    "outcomes are final once the model's maturity has passed",
    "where the champion's answer decides whether an outcome is ever seen (a declined application), shadow does not "
    "show what would have happened",
)
UNDECLARED: Final = (
    "the model declares no maturity, so only what is known within seconds of a decision counts: seal it with "
    "--maturity-days"
)
AT_RANDOM: Final = "decisions without an outcome are taken to be missing at random"


@dataclass(slots=True)
class Compared:
    """What is known of one challenger, up to a moment; anybody who starts anew comes to the same."""

    agreement: Agreement
    bet: GridBet
    filled: GridBet
    from_ns: int  # decisions before it have been compared by their losses
    seen_ns: int  # and before this one counted for agreement
    loss_sum: float = 0.0
    challenger_sum: float = 0.0
    repeated: int = 0
    unusable: int = 0
    unknown: int = 0  # final, and nothing is known of what happened
    unscored: int = 0
    counted: set[int] = field(default_factory=set)
    by_segment: dict[int, GridBet] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Segments:
    """What reports are split by: a field of the champion's, by its position, and the names of its codes."""

    position: int = -1
    names: tuple[str, ...] = ()

    def of(self, page: Sequence[Joined]) -> Floats:
        """The code of each decision; NaN where it has none."""
        if self.position < 0:
            return np.full(len(page), np.nan)
        return matrix([one.row.values for one in page])[:, self.position]


def segments_of(schema: Schema, name: str) -> Segments:
    """What a policy splits reports by: a category or a boolean of this model; nothing for any other name."""
    position = schema.index.get(name, -1)
    if position < 0:
        return Segments()
    given = schema.fields[position]
    names = {"category": tuple(map(str, given.categories)), "boolean": ("false", "true")}.get(given.type, ())
    return Segments(position, names) if names else Segments()


def missing_share(compared: Compared) -> float:
    known = compared.bet.n + compared.repeated + compared.unusable
    return compared.unknown / (known + compared.unknown) if known + compared.unknown else 0.0


def safe_e(compared: Compared) -> float:
    """SAFE without an assumption where few outcomes are missing, else taking them to be missing at random."""
    return compared.filled.safe_e() if missing_share(compared) <= MOST_MISSING else compared.bet.safe_e()


def by_segment(compared: Compared, segments: Segments) -> list[dict[str, Any]]:
    """Each segment by itself: one of many is bound to look bad by chance at some time, and none decides."""
    return [
        {
            "segment": segments.names[code],
            "pairs": bet.n,
            "mean_difference": bet.total / bet.n,
            "e_better": bet.better_e(),
            "e_safe": bet.safe_e(),
            "e_worse": bet.worse_e(),
        }
        for code, bet in sorted(compared.by_segment.items())
    ]


def told(compared: Compared, seen: ShadowEvidence, done: Progress, policy: Policy, loss: str) -> dict[str, Any]:
    """The report as JSON; None is no knowledge."""
    limit, bet, missing = 1 / policy.alpha_shadow, compared.bet, missing_share(compared)
    claims = [
        word for word, e in (("BETTER", seen.e_better), ("SAFE", seen.e_safe), ("WORSE", seen.e_worse)) if e >= limit
    ]
    variance = bet.squares / bet.n - (bet.total / bet.n) ** 2 if bet.n else None
    needed = outcomes_to_safe(variance, bet.delta, policy.alpha_shadow, bet.bound) if variance else None
    return {
        "agreement": compared.agreement.to_json(),
        "claims": claims,
        "loss": loss,
        "pairs": bet.n,
        "mean_loss": compared.loss_sum / bet.n if bet.n else None,
        "mean_loss_challenger": compared.challenger_sum / bet.n if bet.n else None,
        "difference": list(bet.interval(policy.alpha_shadow)) if bet.n else None,
        "e_better": seen.e_better,
        "e_safe": seen.e_safe,
        "e_worse": seen.e_worse,
        "e_limit": limit,
        "delta": policy.delta,
        "variance": variance,
        "outcomes_needed": needed,
        "outcomes_missing": missing,
        "repeated": compared.repeated,
        "unusable": compared.unusable,
        "unscored": compared.unscored,
        "scored": done.scored,
        "not_scorable": done.missed,
        "faults": dict(done.faults),
        "given_up": done.given_up,
        "assumptions": [*ASSUMPTIONS, *([AT_RANDOM] if missing > MOST_MISSING else [])],
    }


def matrix(rows: Sequence[bytes]) -> Floats:
    return np.frombuffer(b"".join(rows), "<f8").reshape(len(rows), -1)
