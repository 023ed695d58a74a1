"""What is known of a champion and a challenger: a fold over the champion's decisions in the order of their requests.

A decision's outcome counts as it stood when it became final; what is reported later is told, and counts as missing. So
whoever begins anew, at any time, comes to the same. Of an entity that is decided on again the earlier decision is no
pair, because what happens from then on belongs to the later one; the same report on several decisions is one pair.
"""

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import numpy as np

from scoreline.core.link import Floats
from scoreline.core.manifest import Manifest
from scoreline.evidence.paired import GridBet
from scoreline.records.joined import Joined
from scoreline.records.outcomes import Report
from scoreline.records.shadowed import Score
from scoreline.rollout.agreement import Agreement, Versions
from scoreline.rollout.losses import Loss

MS: Final = 1_000_000
MOST_MISSING: Final = 0.05
REMEMBERED: Final = 1 << 20  # reports on entities that have made a pair
Scores = Mapping[bytes, Score]


class Lost(NamedTuple):
    """What champion and challenger lost by a decision."""

    mine: float
    theirs: float


NOTHING: Final = Lost(0.0, 0.0)


class Gain(NamedTuple):
    """The least and the most that the challenger may have gained by a decision, whatever happened."""

    least: float
    most: float


@dataclass(slots=True)
class Bets:
    """Evidence on the pairs whose outcome is known; and with each missing one filled in against the challenger, or for
    it. `losses` are the sums of both.
    """

    known: GridBet
    against: GridBet
    in_favour: GridBet
    losses: Lost = NOTHING
    missing: int = 0

    @classmethod
    def of(cls, bound: float, delta: float) -> "Bets":
        bet = GridBet(bound, delta)
        return cls(bet, bet, bet)

    def add(self, lost: Sequence[Lost], missing: Sequence[Gain]) -> None:
        gains = [one.mine - one.theirs for one in lost]
        self.known = self.known.add(gains)
        self.against = self.against.add([*gains, *(one.least for one in missing)])
        self.in_favour = self.in_favour.add([*gains, *(one.most for one in missing)])
        mine, theirs = self.losses
        self.losses = Lost(mine + sum(one.mine for one in lost), theirs + sum(one.theirs for one in lost))
        self.missing += len(missing)

    @property
    def share_missing(self) -> float:
        return self.missing / (self.known.n + self.missing) if self.missing else 0.0

    @property
    def is_filled(self) -> bool:
        """Whether so few outcomes are missing that claims assume nothing about them."""
        return self.share_missing <= MOST_MISSING

    def e_values(self) -> dict[str, float]:
        """Of each claim; where few outcomes are missing, with what speaks most against it in their place."""
        against, in_favour = (self.against, self.in_favour) if self.is_filled else (self.known, self.known)
        return {"BETTER": against.better_e(), "SAFE": against.safe_e(), "WORSE": in_favour.worse_e()}


@dataclass(frozen=True, slots=True)
class Split:
    """A field whose values are told apart: its place in a row, and the names of its codes.

    With `quarters` it has numbers instead of codes, and the names are of what lies between those.
    """

    field: str
    position: int
    names: tuple[str, ...]
    quarters: tuple[float, ...] | None = None

    def code(self, value: float) -> int:
        """Which of the names a value has; the one behind the last where it is missing."""
        if np.isnan(value):
            return len(self.names)
        return int(value) if self.quarters is None else bisect_right(self.quarters, value)


@dataclass(frozen=True, slots=True)
class Rivals:
    """Champion and challenger as they are compared. `why_not`: why there is no loss, where none is.

    An outcome counts if it was reported within `in_time_ns` of its decision, which is final after `final_ns`.
    """

    mine: Manifest
    theirs: Manifest
    loss: Loss | None
    why_not: str
    split: Split | None
    final_ns: int
    in_time_ns: int
    delta: float

    def bets(self) -> Bets:
        return Bets.of(self.loss.bound if self.loss else 1.0, self.delta)

    def compared(self, since_ns: int) -> "Compared":
        """Nothing yet, from a time on."""
        versions = Versions(
            self.mine.policy.outcomes,
            self.theirs.policy.outcomes,
            self.mine.outputs,
            self.split.names if self.split else (),
        )
        return Compared(self, Agreement.of(versions), self.bets(), since_ns, since_ns)


@dataclass(slots=True)
class Compared:
    """What is known up to a moment. Decisions before `from_ns` are compared by their losses, before `seen_ns` they
    count for agreement.
    """

    rivals: Rivals
    agreement: Agreement
    bets: Bets
    from_ns: int
    seen_ns: int
    is_behind: bool = False
    by_segment: dict[int, Bets] = field(default_factory=dict)
    repeated: int = 0
    degraded: int = 0
    unusable: int = 0
    late: int = 0
    unscored: int = 0
    _remembered: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def agree(self, page: Sequence[Joined], scores: Scores) -> None:
        """Takes in decisions; those without a score are counted."""
        scored = [one for one in page if one.row.id in scores]
        self.unscored += len(page) - len(scored)
        self.seen_ns = _after(page, self.seen_ns)
        if not scored:
            return
        theirs = [scores[one.row.id] for one in scored]
        self.agreement = self.agreement.add(
            [int.from_bytes(one.row.id, "big") for one in scored],
            _matrix([one.row.scores for one in scored]),
            _matrix([raw for raw, _ in theirs]),
            [one.row.outcome for one in scored] if self.agreement.flips.size else (),
            [code for _, code in theirs] if self.agreement.flips.size else (),
            np.array([self._segment(one) for one in scored], dtype=np.float64) if self.rivals.split else None,
        )

    def open(self, page: Sequence[Joined], scores: Scores) -> list[bytes]:
        """Decisions of which it takes knowing whether their entity was decided on again: nothing else is known."""
        return [one.row.id for one in page if one.row.entity and one.row.id in scores and not self._report(one)]

    def pair(self, page: Sequence[Joined], scores: Scores, followed: Collection[bytes]) -> None:
        """Takes in decisions whose outcomes are final; `followed` are those whose entity was decided on again."""
        lost: list[Lost] = []
        missing: list[Gain] = []
        by_segment: dict[int, tuple[list[Lost], list[Gain]]] = {}
        for one in page:
            found = self._found(one, scores[one.row.id], followed) if one.row.id in scores else None
            if found is None:
                continue
            also = by_segment.setdefault(self._segment(one), ([], []))
            if isinstance(found, Lost):
                lost.append(found)
                also[0].append(found)
            else:
                missing.append(found)
                also[1].append(found)
        self.bets.add(lost, missing)
        for segment, (some, gaps) in by_segment.items() if self.rivals.split else ():
            self.by_segment.setdefault(segment, self.rivals.bets()).add(some, gaps)
        self.from_ns = _after(page, self.from_ns)

    def _found(self, one: Joined, score: Score, followed: Collection[bytes]) -> Lost | Gain | None:
        """What both lost by a decision, or what they may have lost where that is not known; None: it is no pair."""
        loss = self.rivals.loss
        assert loss is not None
        if one.row.degraded:
            self.degraded += 1
            return None
        report = self._report(one)
        if (report is None and one.row.id in followed) or (report and self._is_repeated(one, report)):
            self.repeated += 1
            return None
        raw, code = score
        mine = np.frombuffer(one.row.scores, "<f8").tolist(), _word(one.author.outcomes, one.row.outcome)
        theirs = np.frombuffer(raw, "<f8").tolist(), _word(self.rivals.theirs.policy.outcomes, code)
        label = loss.label(report.value) if report else None
        if label is not None:
            return Lost(loss.of(*mine, label), loss.of(*theirs, label))
        self.unusable += report is not None
        self.late += report is None and one.known is not None
        gains = [loss.of(*mine, each) - loss.of(*theirs, each) for each in loss.labels]
        return Gain(min(gains), max(gains))

    def _report(self, one: Joined) -> Report | None:
        """What was known of a decision in time, as it stood last."""
        if one.known is None:
            return None
        until_ns = one.row.time_ns + self.rivals.in_time_ns
        told = [report for report in (*one.known.history, one.known.current) if report.received_ns <= until_ns]
        return told[-1] if told else None

    def _is_repeated(self, one: Joined, report: Report) -> bool:
        """Whether the same report on the same entity has made a pair already.

        Where nobody said when it was observed, those of one call were at the same moment.
        """
        if not one.row.entity:
            return False
        key = hash((one.row.entity, min(report.observed_ns, report.received_ns), report.value))
        if key in self._remembered:
            return True
        self._remembered[key] = None
        if len(self._remembered) > REMEMBERED:
            self._remembered.popitem(last=False)
        return False

    def _segment(self, one: Joined) -> int:
        """The code of a decision's segment; the one behind the last where its field is missing."""
        split = self.rivals.split
        if split is None:
            return 0
        return split.code(float(np.frombuffer(one.row.values, "<f8", 1, 8 * split.position)[0]))


def moment_of(one: Joined) -> int:
    """The millisecond of a decision: within one, decisions come in no order."""
    return one.row.time_ns // MS


def _after(page: Sequence[Joined], before_ns: int) -> int:
    return (moment_of(page[-1]) + 1) * MS if page else before_ns


def _matrix(rows: Sequence[bytes]) -> Floats:
    return np.frombuffer(b"".join(rows), "<f8").reshape(len(rows), -1)


def _word(words: tuple[str, ...], code: int) -> str | None:
    return words[code] if 0 <= code < len(words) else None
