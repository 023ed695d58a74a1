"""`[drift]`: what counts as a change of the world, and how often an alarm may be false."""

from dataclasses import dataclass

from scoreline.core.errors import SettingError
from scoreline.drift.rules import Rules
from scoreline.evidence.tolerance import Tolerance
from scoreline.settings.option import option


@dataclass(frozen=True, slots=True)
class Drift:
    """Hosts of one database have the same: what another tolerance has counted is no evidence."""

    false_alarms: float = option(1.0, "How many alarms of a model may be false, in a year at most.")
    mean_tolerance: float = option(0.2, "How far the mean score may lie from the reference's, as a part of it.")
    logit_tolerance: float = option(0.2, "How far a share may lie from the reference's, in logits: .2 is 50 to 55 %.")
    share_tolerance: float = option(0.01, "The same in parts of 1, for what is rare: .01 is 0 to 1 %.")
    tick_s: int = option(10, "How often what all hosts have counted becomes evidence.")

    def __post_init__(self) -> None:
        ranges = {"false_alarms": (1e-3, 1e3), "mean_tolerance": (0, 10), "logit_tolerance": (0, 10)}
        for name, (least, most) in (ranges | {"share_tolerance": (0, 0.5), "tick_s": (1, 3600)}).items():
            if not least <= getattr(self, name) <= most:
                raise SettingError(f"drift.{name}: between {least:g} and {most:g}")

    @property
    def rules(self) -> Rules:
        tolerance = Tolerance(self.mean_tolerance, self.logit_tolerance, self.share_tolerance)
        return Rules(tolerance, self.false_alarms, self.tick_s)
