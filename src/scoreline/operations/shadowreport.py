"""What shadow shows of a challenger: as a gate takes it, and as people read it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from scoreline.evidence.planning import outcomes_to_safe
from scoreline.operations.compared import Bets, Compared
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.policy import Policy

NS: Final = 1_000_000_000
SELECTIVE: Final = (
    "where the champion's answer decides whether an outcome is ever seen (a declined application), shadow does not "
    "show what would have happened"
)
AT_RANDOM: Final = "decisions without an outcome are taken to be missing at random"
FILLED: Final = "decisions without an outcome count as what speaks most against each claim"
UNDECLARED: Final = (
    "the model declares no maturity, so only what is known within seconds of a decision counts: seal it with "
    "--maturity-days"
)


def seen_of(compared: Compared) -> ShadowEvidence:
    """For the gate."""
    bets = compared.bets
    found = bets.e_values()
    return ShadowEvidence(
        compared.agreement.rows,
        bets.known.n,
        found["BETTER"],
        found["SAFE"],
        found["WORSE"],
        unscored=compared.unscored,
    )


def report_of(compared: Compared, policy: Policy) -> dict[str, Any]:
    """For people; without what only a running shadow knows. None: no data."""
    rivals, bets = compared.rivals, compared.bets
    variance = bets.known.squares / bets.known.n - (bets.known.total / bets.known.n) ** 2 if bets.known.n else None
    needed = outcomes_to_safe(variance, policy.delta, policy.alpha_shadow, bets.known.bound) if variance else None
    return {
        "agreement": compared.agreement.to_json(),
        "loss": rivals.why_not or policy.loss,
        **_claimed(bets, policy),
        "e_limit": 1 / policy.alpha_shadow,
        "delta": policy.delta,
        "variance": variance,
        "outcomes_needed": needed,
        "segment": rivals.split.field if rivals.split else None,
        "segments": list(_segments(compared, policy)),
        "repeated": compared.repeated,
        "degraded": compared.degraded,
        "late": compared.late,
        "unusable": compared.unusable,
        "unscored": compared.unscored,
        "is_behind": compared.is_behind,
        "assumptions": list(_assumptions(compared)),
    }


def _claimed(bets: Bets, policy: Policy) -> Mapping[str, Any]:
    n, found = bets.known.n, bets.e_values()
    return {
        "claims": [claim for claim, e in found.items() if e >= 1 / policy.alpha_shadow],
        "pairs": n,
        "mean_difference": bets.known.total / n if n else None,
        "mean_loss": bets.losses.mine / n if n else None,
        "mean_loss_challenger": bets.losses.theirs / n if n else None,
        "difference": list(bets.known.interval(policy.alpha_shadow)) if n else None,
        **{f"e_{claim.lower()}": e for claim, e in found.items()},
        "outcomes_missing": bets.share_missing,
    }


def _segments(compared: Compared, policy: Policy) -> Iterator[Mapping[str, Any]]:
    """Each value of the field that was seen, in the order of its codes; None: the field was missing.

    Each by itself: one of many is bound to look bad by chance at some time, and none decides.
    """
    split = compared.rivals.split
    for code in sorted(compared.by_segment) if split else ():
        names = (*split.names, None) if split else ()
        yield {"segment": names[code], **_claimed(compared.by_segment[code], policy)}


def _assumptions(compared: Compared) -> Iterator[str]:
    rivals = compared.rivals
    if rivals.loss is None:
        return
    days = rivals.mine.maturity_s / 86_400
    yield f"outcomes are final {days:.4g} days after the decision" if days else UNDECLARED
    yield SELECTIVE
    if compared.bets.missing:
        yield FILLED if compared.bets.is_filled else AT_RANDOM
