"""Champion and challenger on the same decisions: how far they agree, and who was right once outcomes are known.

Decisions are taken in the order of their requests. Those behind the watermark, whose outcomes are final, are compared
by their losses; every scored one counts for agreement. An outcome by entity belongs to the last decision before the
event, so that whoever is scored again and again is one pair; the same report on several decisions is one pair, too.
"""

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np

from scoreline.core.errors import BundleError, NotFound, RolloutRefused
from scoreline.core.link import Floats
from scoreline.core.manifest import Manifest
from scoreline.evidence.paired import GridBet
from scoreline.evidence.planning import outcomes_to_safe
from scoreline.operations.bundles import manifest_of
from scoreline.operations.desk import Shown
from scoreline.records.database import Database
from scoreline.records.joined import Joined, Places, joined
from scoreline.records.shadowed import Progress, Score, numbers_of, progress, scores_of
from scoreline.records.walk import Wanted
from scoreline.rollout.agreement import Agreement, Versions
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.losses import Loss, loss_of
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Challenger, Stage

PAGE_ROWS: Final = 5000
NS: Final = 1_000_000_000
GRACE_NS: Final = 600 * NS  # how long a decision waits for a challenger's score before it counts as without
LAG_NS: Final = 2 * NS  # what may still come from a spool
MOST_MISSING: Final = 0.05
ASSUMPTIONS: Final = (
    "outcomes are final once the model's maturity has passed",
    "where the champion's answer decides whether an outcome is ever seen (a declined application), shadow does not "
    "show what would have happened",
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


@dataclass(frozen=True, slots=True)
class _Pair:
    """What is compared: the champion's decisions with what a challenger (the numbers of its authors) made of them."""

    model: str
    champion: str
    numbers: Sequence[int]
    mine: Manifest
    theirs: Manifest
    loss: Loss | None


class Pairing:
    """The comparison of each challenger, kept up to date. `state_dir` has the bundles."""

    def __init__(self, database: Database, spool: Path, state_dir: Path, policy: Policy) -> None:
        self._database = database
        self._places = Places(spool, database)
        self._state_dir = state_dir
        self._policy = policy
        self._found: dict[tuple[str, str, int, str], Compared] = {}
        self._one = threading.Lock()  # routes ask from several threads

    def report(self, model: str, stage: Stage, challenger: Challenger) -> Shown:
        """What shadow shows of a challenger now, as a gate and as people read it."""
        with self._one:
            return self._report(model, stage, challenger)

    def _report(self, model: str, stage: Stage, challenger: Challenger) -> Shown:
        try:
            mine = manifest_of(self._state_dir, stage.champion.digest)
            theirs = manifest_of(self._state_dir, challenger.arm.digest)
        except (NotFound, BundleError) as error:
            return Shown(ShadowEvidence(), {"error": str(error)})
        try:
            loss, refused = loss_of(self._policy.loss, self._policy.cost_of, mine, theirs), ""
        except RolloutRefused as error:
            loss, refused = None, str(error)
        key = (model, challenger.arm.digest, challenger.since, stage.champion.digest)
        compared = self._found.setdefault(key, self._begun(mine, theirs, loss, challenger.since_ns))
        numbers = numbers_of(self._database, model, challenger.arm.digest, challenger.since)
        self._go_on(compared, _Pair(model, stage.champion.digest, numbers, mine, theirs, loss))
        done = progress(self._database, numbers)
        seen = ShadowEvidence(
            compared.agreement.rows,
            compared.bet.n,
            compared.bet.better_e(),
            self._safe_e(compared),
            compared.bet.worse_e(),
        )
        return Shown(seen, self._told(compared, seen, done, refused))

    def _begun(self, mine: Manifest, theirs: Manifest, loss: Loss | None, since_ns: int) -> Compared:
        versions = Versions(mine.policy.outcomes, theirs.policy.outcomes, mine.outputs)
        bet = GridBet(loss.bound if loss else 1.0, self._policy.delta)
        return Compared(Agreement.of(versions), bet, bet, since_ns, since_ns)

    def _go_on(self, compared: Compared, pair: "_Pair") -> None:
        now_ns = time.time_ns()
        for page in self._pages(pair, compared.seen_ns, now_ns - LAG_NS):
            scores = self._scores(pair, page)
            whole = _until_unscored(page, scores, now_ns)
            self._agree(compared, [one for one in whole if one.row.id in scores], scores)
            compared.unscored += sum(1 for one in whole if one.row.id not in scores)
            compared.seen_ns = _after(whole, compared.seen_ns)
            if len(whole) < len(page):
                break
        if pair.loss is None:
            return
        final_ns = min(compared.seen_ns, now_ns - pair.mine.maturity_s * NS)
        for page in self._pages(pair, compared.from_ns, final_ns):
            scores = self._scores(pair, page)
            self._pair(compared, [one for one in page if one.row.id in scores], scores, pair.loss, pair.theirs)
            compared.from_ns = _after(page, compared.from_ns)

    def _pages(self, pair: "_Pair", from_ns: int, until_ns: int) -> Iterable[list[Joined]]:
        """Decisions of the champion in the order of their requests, whole moments at a time."""
        if from_ns >= until_ns:
            return
        wanted = Wanted(pair.model, from_ns=from_ns, until_ns=until_ns)
        found = joined(self._places, wanted, lambda one: one.author.digest == pair.champion)
        left: list[Joined] = []
        while page := list(islice(found, PAGE_ROWS)):
            page = left + page
            last = page[-1].row.time_ns
            left = [one for one in page if one.row.time_ns == last]
            yield [one for one in page if one.row.time_ns < last]
        if left:
            yield left

    def _scores(self, pair: "_Pair", page: Sequence[Joined]) -> Mapping[bytes, Score]:
        found: dict[bytes, Score] = {}
        with self._database.reading() as connection:
            for at in range(0, len(page), 500):
                found |= scores_of(connection, pair.numbers, [one.row.id for one in page[at : at + 500]])
        return found

    def _agree(self, compared: Compared, page: Sequence[Joined], scores: Mapping[bytes, Score]) -> None:
        if not page:
            return
        theirs = [scores[one.row.id] for one in page]
        compared.agreement = compared.agreement.add(
            [int.from_bytes(one.row.id, "big") for one in page],
            _matrix([one.row.scores for one in page]),
            _matrix([raw for raw, _ in theirs]),
            [one.row.outcome for one in page] if compared.agreement.flips.size else (),
            [code for _, code in theirs] if compared.agreement.flips.size else (),
        )

    def _pair(
        self,
        compared: Compared,
        page: Sequence[Joined],
        scores: Mapping[bytes, Score],
        loss: Loss,
        theirs: Manifest,
    ) -> None:
        known, filled = [], []
        for one in page:
            raw, code = scores[one.row.id]
            mine = np.frombuffer(one.row.scores, "<f8").tolist(), _word(one.author.outcomes, one.row.outcome)
            other = np.frombuffer(raw, "<f8").tolist(), _word(theirs.policy.outcomes, code)
            if one.known is None:
                compared.unknown += not one.row.entity
                if not one.row.entity:  # of an entity, another decision may have what happened
                    filled.append(min(loss.of(*mine, label) - loss.of(*other, label) for label in loss.labels))
                continue
            label = loss.label(one.known.current.value)
            if label is None:
                compared.unusable += 1
                continue
            if self._is_repeated(compared, one):
                compared.repeated += 1
                continue
            losses = loss.of(*mine, label), loss.of(*other, label)
            compared.loss_sum += losses[0]
            compared.challenger_sum += losses[1]
            known.append(losses[0] - losses[1])
            filled.append(known[-1])
        compared.bet = compared.bet.add(known)
        compared.filled = compared.filled.add(filled)

    def _is_repeated(self, compared: Compared, one: Joined) -> bool:
        """Whether the same report on the same entity has made a pair already."""
        assert one.known is not None
        if not one.row.entity:
            return False
        report = one.known.current
        key = hash((one.row.entity, report.observed_ns, report.value))
        if key in compared.counted:
            return True
        compared.counted.add(key)
        return False

    def _safe_e(self, compared: Compared) -> float:
        """SAFE without an assumption where few outcomes are missing, else taking them to be missing at random."""
        return compared.filled.safe_e() if _missing(compared) <= MOST_MISSING else compared.bet.safe_e()

    def _told(self, compared: Compared, seen: ShadowEvidence, done: Progress, refused: str) -> dict[str, Any]:
        limit, bet, missing = 1 / self._policy.alpha_shadow, compared.bet, _missing(compared)
        claims = [
            word
            for word, e in (("BETTER", seen.e_better), ("SAFE", seen.e_safe), ("WORSE", seen.e_worse))
            if e >= limit
        ]
        variance = bet.squares / bet.n - (bet.total / bet.n) ** 2 if bet.n else None
        needed = outcomes_to_safe(variance, bet.delta, self._policy.alpha_shadow, bet.bound) if variance else None
        return {
            "agreement": compared.agreement.to_json(),
            "claims": claims,
            "loss": refused or self._policy.loss,
            "pairs": bet.n,
            "mean_loss": compared.loss_sum / bet.n if bet.n else None,
            "mean_loss_challenger": compared.challenger_sum / bet.n if bet.n else None,
            "difference": list(bet.interval(self._policy.alpha_shadow)) if bet.n else None,
            "e_better": seen.e_better,
            "e_safe": seen.e_safe,
            "e_worse": seen.e_worse,
            "e_limit": limit,
            "delta": self._policy.delta,
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


def _missing(compared: Compared) -> float:
    known = compared.bet.n + compared.repeated + compared.unusable
    return compared.unknown / (known + compared.unknown) if known + compared.unknown else 0.0


def _until_unscored(page: list[Joined], scores: Mapping[bytes, object], now_ns: int) -> list[Joined]:
    """The page up to a decision that may still get its score."""
    for place, one in enumerate(page):
        if one.row.id not in scores and one.row.time_ns > now_ns - GRACE_NS:
            return page[:place]
    return page


def _after(page: Sequence[Joined], before_ns: int) -> int:
    return page[-1].row.time_ns + 1 if page else before_ns


def _matrix(rows: Sequence[bytes]) -> Floats:
    return np.frombuffer(b"".join(rows), "<f8").reshape(len(rows), -1)


def _word(words: tuple[str, ...], code: int) -> str | None:
    return words[code] if 0 <= code < len(words) else None
