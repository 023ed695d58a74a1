"""What an audit finds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

MOST_FINDINGS: Final = 1000
Verdict = Literal["intact", "broken", "nothing signed"]
What = Literal["altered", "removed", "inserted", "missing segment", "erased", "chain", "author"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as signed: what kind, where, and what it means; never a value of a record."""

    what: What
    where: str
    says: str


@dataclass(slots=True)
class Report:
    """Counts of what was looked at, and the first 1,000 findings.

    `records` are decisions whose leaves are in a tree; of these `erased` were, with a signature for it, and `unsigned`
    came after the last checkpoint. `removed` went with a signature for it, `left_out` are not in this export, as its
    filter says. `open_segments` have not ended: they are being written, or their host is gone.
    """

    checkpoints: int = 0
    head: str = ""
    signed_ns: int = 0
    segments: int = 0
    open_segments: int = 0
    records: int = 0
    erased: int = 0
    removed: int = 0
    unsigned: int = 0
    left_out: int = 0
    export: Mapping[str, Any] | None = None
    n_findings: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, what: What, where: str, says: str) -> None:
        self.n_findings += 1
        if len(self.findings) < MOST_FINDINGS:
            self.findings.append(Finding(what, where, says))

    @property
    def verdict(self) -> Verdict:
        """Without a checkpoint there is nothing to hold the record against: that is no pass."""
        if self.n_findings:
            return "broken"
        return "intact" if self.checkpoints else "nothing signed"
