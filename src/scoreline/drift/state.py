"""The evidence about one version, as it stands between two ticks: pure, and a few kilobytes in a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np

from scoreline.core.link import Floats
from scoreline.drift.beside import moved_scores
from scoreline.drift.counts import packed, unpacked
from scoreline.drift.reference import Reference
from scoreline.evidence.detector import NOTHING, log_evidence, ticked
from scoreline.evidence.likelihoods import e_value

RECENT_ROWS: Final = 200.0  # what an alarm is explained by: about so many rows, or the tick's
MOST_NAMED: Final = 10
NAMED_FROM: Final = 0.5  # of ln A: a subject with as much evidence of its own is named
RISING_FROM: Final = 0.5  # of ln A: from here on an alarm has taken half of its rows
_NUMBERS: Final = 3


@dataclass(frozen=True, slots=True)
class State:
    """`logs` has ln M of each bet after so many `ticks`; `recent` what was counted of about the last 200 rows.

    `rows` are those since evidence began, `rising` those since it was last low, `took` the most that an
    alarm of the incident has taken.
    """

    logs: Floats
    recent: Floats
    ticks: int = 0
    rows: float = 0.0
    rising: float = 0.0
    took: float = 0.0

    @classmethod
    def new(cls, reference: Reference) -> Self:
        return cls(np.full(len(reference.is_bet), NOTHING), np.zeros(reference.layout.size))

    def tick(self, reference: Reference, counts: Floats) -> Self:
        """After a tick in which this was counted; without rows there is no tick, and nothing changes."""
        n_rows = counts[0]
        if not n_rows:
            return self
        logs = ticked(self.logs, reference.log_e(counts))
        recent = counts + np.exp(-n_rows / RECENT_ROWS) * self.recent
        return replace(self, logs=logs, recent=recent, ticks=self.ticks + 1, rows=self.rows + n_rows)

    def log_evidence(self, reference: Reference) -> float:
        """ln of what is held against ln A; raises nothing, and is -inf before the first tick."""
        return log_evidence(self.logs, reference.weights)

    def begun_anew(self, reference: Reference, *, again: bool = False) -> Self:
        """After an alarm: no evidence, the same recent rows; `again`: of an incident that had one before."""
        took = max(self.rising / RISING_FROM, self.took if again else 0.0)
        return replace(self.new(reference), recent=self.recent, took=took)

    def held_against(self, reference: Reference, log_alarm_at: float, n_rows: float) -> Self:
        """After a tick of so many rows: whether it belongs to the way to an alarm."""
        is_rising = self.log_evidence(reference) >= RISING_FROM * log_alarm_at
        return replace(self, rising=self.rising + n_rows if is_rising else 0.0)

    def by_subject(self, reference: Reference) -> Sequence[float]:
        """ln of each subject's own evidence: the mean of its bets."""
        n_subjects = len(reference.subjects)
        logs, subjects = self.logs[reference.is_bet], reference.subject_of[reference.is_bet]
        top = np.full(n_subjects, NOTHING)
        np.maximum.at(top, subjects, logs)
        base = np.where(np.isfinite(top), top, 0.0)
        sums = np.bincount(subjects, np.exp(logs - base[subjects]), n_subjects)
        means = sums / np.maximum(np.bincount(subjects, minlength=n_subjects), 1)
        return [float(at + np.log(mean)) if mean else NOTHING for at, mean in zip(base, means, strict=True)]

    def leading(self, reference: Reference) -> int:
        """The bet that has the most weight in the evidence; which one, before the first tick, is left open."""
        bets = np.flatnonzero(reference.weights)
        return int(bets[np.argmax(self.logs[bets] + np.log(reference.weights[bets]))])

    def explained(self, reference: Reference, log_alarm_at: float) -> Mapping[str, Any]:
        """What an alarm rests on, as plain JSON: the bet that leads, and subjects by their effect on the score.

        The effect is by how much the mean of the first score moves, were nothing else changed; None: it is not known.
        """
        own, effects = self.by_subject(reference), moved_scores(reference, self.recent)
        lead = self.leading(reference)
        at = int(reference.subject_of[lead])
        named = [at] + [each for each, log in enumerate(own) if each != at and log >= NAMED_FROM * log_alarm_at]
        named = sorted(named, key=lambda each: -own[each])[:MOST_NAMED]
        ranked = sorted(named, key=lambda each: -abs(effects[each] or 0.0))
        return {
            "evidence": e_value(self.log_evidence(reference)),
            "alarm_at": e_value(log_alarm_at),
            "ticks": self.ticks,
            "leading": {**subject_of(reference, at), **reference.words(lead)},
            "subjects": [
                {**subject_of(reference, each), "evidence": e_value(own[each]), "effect": effects[each]}
                | self.strongest(reference, each)
                for each in ranked
            ],
        }

    def to_bytes(self) -> bytes:
        """`State.from_bytes(s.to_bytes(), r, s.ticks)` has the same bits."""
        return packed(np.concatenate([self.logs, self.recent, [self.rows, self.rising, self.took]]))

    @classmethod
    def from_bytes(cls, raw: bytes, reference: Reference, ticks: int) -> Self:
        """Raises DatabaseRefused."""
        n_bets, n_counts = len(reference.is_bet), reference.layout.size
        found = unpacked(raw, n_bets + n_counts + _NUMBERS)
        return cls(found[:n_bets], found[n_bets:-_NUMBERS], ticks, *found[-_NUMBERS:].tolist())

    def strongest(self, reference: Reference, subject: int) -> dict[str, Any]:
        """The words of a subject's strongest bet."""
        own = np.where(reference.is_bet & (reference.subject_of == subject), self.logs, NOTHING)
        return reference.words(int(np.argmax(own)))


def subject_of(reference: Reference, at: int) -> dict[str, Any]:
    """A subject's name, and whether it is a score or a field."""
    kind = "score" if at < len(reference.scores) else "field"
    return {"subject": reference.subjects[at].name, "kind": kind}
