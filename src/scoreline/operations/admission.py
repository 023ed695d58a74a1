"""Letting a version in: it is brought here, tried out, and held against the gates before it answers anybody."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from scoreline.core.errors import BundleError, NotFound, RolloutRefused
from scoreline.core.link import Floats
from scoreline.core.manifest import Manifest
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import is_path
from scoreline.operations.bundles import manifest_of
from scoreline.operations.governed import arm_of, fetch
from scoreline.operations.install import install_tried
from scoreline.operations.measured import Measured, measure
from scoreline.operations.rollouts import Frozen
from scoreline.records.recent import Recent
from scoreline.records.rows import plain
from scoreline.rollout.gates import ShadowEvidence, check_budget, check_compatible, check_shadow
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm, Stage

LEAST: Final = 200  # recent decisions that thresholds are taken from
LEAST_HIGH: Final = 0.01  # of scores that are high, for high ones to be compared
SLOW: Final = 0.99
HIGH: Final = 0.9


@dataclass(frozen=True, slots=True)
class Host:
    """Where this host finds versions, whom it trusts, and where it keeps them."""

    registries: Mapping[str, Registry]
    trust: Callable[[], Verifier]
    state_dir: Path

    def bring(self, model: str, ref: str) -> tuple[Arm, Manifest]:
        """What a REF names, installed and tried out, as a version that every host finds again; raises as `install`.

        Another model's version is refused.
        """
        named = str(Path(ref).absolute()) if is_path(ref) else ref
        if plain(named) != named:
            raise RolloutRefused("a path is told to other hosts, so it has to be UTF-8: rename the folder")
        found = install_tried(named, self.registries, self.trust(), self.state_dir).manifest
        if found.name != model:
            raise RolloutRefused(f"{ref} is a version of {found.name!r}, not of {model!r}")
        return arm_of(named, found.name, found.version, found.digest), found

    def manifest(self, arm: Arm) -> Manifest:
        """The manifest of a version of the ledger, which is brought here where it is not; raises as `fetch`."""
        with suppress(NotFound, BundleError):
            return manifest_of(self.state_dir, arm.digest)
        fetch(arm, self.registries, self.trust(), self.state_dir)
        return manifest_of(self.state_dir, arm.digest)

    def measured(self, arm: Arm) -> Measured:
        """How long a version that is here takes for one row, here."""
        return measure(self.state_dir / "bundles" / arm.digest, arm.digest)


def named(stage: Stage, wanted: str) -> Arm | None:
    """The challenger, or canary, with this version; None where it is none: then it is a REF."""
    known = [each.arm for each in stage.challengers] + ([stage.canary] if stage.canary else [])
    return next((arm for arm in known if arm.version == wanted), None)


def compatible(champion: Manifest, challenger: Manifest) -> str:
    """Why a version could not answer for the champion; empty where it can."""
    return _said(lambda: check_compatible(champion, challenger))


def admitted(
    host: Host, stage: Stage, arm: Arm, seen: ShadowEvidence | None, policy: Policy, *, forced: bool = False
) -> Mapping[str, Any]:
    """The figures a version was let in by; raises RolloutRefused with every reason why it is not.

    `forced` passes over the gate of shadow, and over no other.
    """
    champion, manifest = host.manifest(stage.champion), host.manifest(arm)
    reasons = [compatible(champion, manifest)]
    figures: dict[str, Any] = {"shadow": asdict(seen) if seen else None, "forced": forced}
    try:
        took = host.measured(arm)
    except BundleError as error:
        reasons.append(str(error))
    else:
        figures |= {"p50_ms": took.p50_ms, "p99_ms": took.p99_ms, "rows": took.rows}
        reasons.append(_said(lambda: check_budget(arm.version, took.p99_ms, policy.budgets.of(manifest.name))))
    if not forced:
        reasons.append(_said(lambda: check_shadow(arm.version, seen or ShadowEvidence(), policy)))
    told = list(filter(None, reasons))
    if told:
        raise RolloutRefused("; and ".join(told))
    return figures


def unwatched(found: Recent, champion: Manifest, thresholds: Frozen) -> str:
    """Which classes of events this canary is not compared by, and why; empty where it is compared by all."""
    if len(found) < LEAST:
        return (
            f"slow and scores are not watched: the database has {len(found)} of the {LEAST} decisions of version "
            f"{champion.version} as champion that their thresholds are taken from; to have them watched, roll back and "
            "begin again once there are more"
        )
    if thresholds.high_score is None:
        why = "the model has several classes" if champion.classes else "hardly a score is above another"
        return f"scores are not watched: {why}"
    return ""


def frozen(found: Recent, champion: Manifest) -> Frozen:
    """Thresholds of events by what the champion decided last; none where that is too little to go by."""
    if len(found) < LEAST:
        return Frozen()
    slow_ns = int(np.quantile(found.model_ns, SLOW, method="higher"))
    return Frozen(slow_ns, None if champion.classes else _high_score(found.scores, champion.policy.thresholds))


def _high_score(scores: Floats, thresholds: tuple[float, ...]) -> float | None:
    """The highest threshold, where scores reach it often enough to be compared; else what a tenth of them exceeds."""
    candidates = (*thresholds[-1:], float(np.quantile(scores, HIGH, method="lower")))
    return next((one for one in candidates if (scores > one).mean() >= LEAST_HIGH), None)


def _said(check: Callable[[], None]) -> str:
    try:
        check()
    except RolloutRefused as refused:
        return str(refused)
    return ""
