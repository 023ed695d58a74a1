"""What drift is watched by: tolerances, how often evidence advances, and what it has to reach."""

import math
from dataclasses import dataclass
from functools import cached_property

from scoreline.evidence.detector import alarm_at
from scoreline.evidence.tolerance import Tolerance


@dataclass(frozen=True)
class Rules:
    """The settings `[drift]`, where docs/settings.md says what each means."""

    tolerance: Tolerance
    false_alarms: float = 1.0
    tick_s: float = 10.0

    @cached_property
    def alarm_at(self) -> float:
        return alarm_at(self.false_alarms, self.tick_s)

    @cached_property
    def log_alarm_at(self) -> float:
        return math.log(self.alarm_at)

    @property
    def tick_ns(self) -> int:
        return round(self.tick_s * 1e9)
