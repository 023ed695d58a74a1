"""What the processes of a host count in memory that they share."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from scoreline.access.windows import Windows
from scoreline.core.counts import Counts, Name


@dataclass(frozen=True, slots=True)
class Counted:
    """The windows of limits, the counts of the other processes, and those of whoever reads them."""

    windows: Sequence[Windows] = ()
    others: Sequence[Counts] = ()
    here: Counts = field(default_factory=Counts)

    def read(self) -> Counter[Name]:
        """All of it by metric and labels."""
        found: Counter[Name] = Counter({("rate_limited", kind): refused for kind, refused in self.refused.items()})
        for each in (*self.others, self.here):
            found.update(each.read())
        return found

    @property
    def refused(self) -> dict[str, int]:
        """Requests over each limit."""
        return {window.limit.kind: window.refused for window in self.windows}
