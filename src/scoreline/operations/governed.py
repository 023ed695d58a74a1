"""From the ledger to what workers read: the stage of a model as its assignment on this host."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final

from scoreline.core.errors import BundleError, NotFound
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import Ref, is_path
from scoreline.operations.install import install_tried, installed_copy
from scoreline.operations.state import Assignment, Canary, Challenged, Pin
from scoreline.records.database import Database
from scoreline.records.ledger import last, moves_since
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Arm, Stage

DAY_NS: Final = 86_400_000_000_000
HONOUR: Final = "honour"
ROLLED_BACK: Final = ("roll_back",)


def arm_of(ref: str, name: str, version: str, digest: str) -> Arm:
    """A version, with a REF that goes on naming it: a path as it is, else its number in the registry."""
    fixed = ref if is_path(ref) else str(Ref(Ref.parse(ref).scheme, name, version))
    return Arm(version, digest, fixed)


def arms_of(stage: Stage) -> Sequence[Arm]:
    """Every version that a stage needs, the champion first."""
    challengers = [challenger.arm for challenger in stage.challengers]
    return [stage.champion, *([stage.canary] if stage.canary else []), *challengers]


def missing(stage: Stage, verifier: Verifier, state_dir: Path) -> list[Arm]:
    """The versions of a stage whose bundles are not in the state folder, or not verified."""
    return [arm for arm in arms_of(stage) if installed_copy(arm.digest, verifier, state_dir) is None]


def fetch(arm: Arm, registries: Mapping[str, Registry], verifier: Verifier, state_dir: Path) -> None:
    """Brings a version here, tried out; raises NotFound, RegistryDown or BundleError."""
    if not arm.ref:
        raise NotFound(f"version {arm.version} is on the host it was served from only: put it into a registry")
    found = install_tried(arm.ref, registries, verifier, state_dir).manifest
    if found.digest != arm.digest:
        raise BundleError(f"{arm.ref} is another bundle here than the one that was chosen: {found.digest}")


def assignment(stage: Stage, promised: Sequence[Pin], lacking: Sequence[Arm]) -> Assignment | None:
    """What workers are to do in a stage; None where the champion is not here yet.

    A canary that is not here answers nothing here. `promised` are versions that quotes may pin.
    """
    if stage.champion in lacking:
        return None
    canary = stage.canary if stage.share > 0 and stage.canary not in lacking else None
    return Assignment(
        stage.champion.version,
        stage.champion.digest,
        stage.epoch,
        Canary(canary.version, canary.digest, stage.share, stage.salt) if canary else None,
        tuple(promised),
        tuple(
            Challenged(each.arm.version, each.arm.digest, each.since)
            for each in stage.challengers
            if each.arm not in lacking
        ),
    )


def alone(before: Assignment) -> Assignment:
    """What workers do until the champion is here: the one before answers, and nobody beside it."""
    return replace(before, canary=None, challengers=())


def promised(database: Database, model: str, policy: Policy, now_ns: int) -> list[Pin]:
    """Versions that answered, answer no more, and may be promised still, by the ledger.

    One that was rolled back is among them if the policy honours its quotes. Raises DatabaseDown or DatabaseRefused.
    """
    days_ns, found, after = policy.quote_days * DAY_NS, dict[str, Pin](), None
    entries = moves_since(database, model, now_ns - days_ns) if days_ns else ()
    if not entries:
        return []
    current = Stage.from_json(entries[0].stage)
    answering = {current.champion.digest, *([current.canary.digest] if current.canary else [])}
    for entry in entries:
        stage = Stage.from_json(entry.stage)
        for arm in (stage.champion, stage.canary if stage.share > 0 else None):
            if arm is None or arm.digest in answering or arm.digest in found or after is None:
                continue
            was_rolled_back = after.action in ROLLED_BACK
            if after.at_ns + days_ns > now_ns and (policy.quotes_on_rollback == HONOUR or not was_rolled_back):
                found[arm.digest] = Pin(arm.version, arm.digest, after.at_ns + days_ns)
            answering.add(arm.digest)
        after = entry
    return list(found.values())


def is_over(assigned: Assignment, now_ns: int) -> bool:
    """Whether a promise has ended that workers still keep."""
    return any(pin.until_ns <= now_ns for pin in assigned.pins)


def decided(
    name: str, database: Database, registries: Mapping[str, Registry], verifier: Verifier, state_dir: Path
) -> Assignment | None:
    """What a new host begins with: the ledger's champion, brought here; None where the ledger has no such model.

    Raises DatabaseDown, DatabaseRefused, and what `fetch` raises.
    """
    with closing(database):
        database.prepare()
        entry = last(database, name)
    if entry is None:
        return None
    stage = Stage.from_json(entry.stage)
    if installed_copy(stage.champion.digest, verifier, state_dir) is None:
        fetch(stage.champion, registries, verifier, state_dir)
    return Assignment(stage.champion.version, stage.champion.digest, stage.epoch)
