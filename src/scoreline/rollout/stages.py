"""The stage a model is in, and the steps from one to the next. Pure: who calls brings the time and the ledger's number.

`seq` is the number that the step's entry gets in the ledger. It becomes the epoch where the step changes what workers
do; holding, pausing, resuming and approving do not. A step that cannot be taken raises RolloutRefused.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from scoreline.core.errors import RolloutRefused

STEADY: Final = "steady"
RUNNING: Final = "running"
HELD: Final = "held"
PAUSED: Final = "paused"
STATES: Final = (STEADY, RUNNING, HELD, PAUSED)
MAX_CHALLENGERS: Final = 3

# What a canary is held for. Only a hold for silence ends by itself, and one for approval with the approval.
SILENCE: Final = "silence"
APPROVAL: Final = "approval"
NO_VERDICT: Final = "no verdict"
HOLD_BACK: Final = "hold-back"
PERSON: Final = "person"


@dataclass(frozen=True, slots=True)
class Arm:
    """A version of a model; `ref` is where a host finds the bundle."""

    version: str
    digest: str
    ref: str = ""


@dataclass(frozen=True, slots=True)
class Challenger:
    """A version that scores in shadow, compared with the champion since the ledger's entry `since`."""

    arm: Arm
    since: int
    since_ns: int


@dataclass(frozen=True, slots=True)
class Stage:
    """What an entry of the ledger leaves a model in. `Stage.from_json(s.to_json()) == s`.

    `epoch` is the entry that last changed what workers do, `rollout` the one the canary began with (0: none), `stepped`
    the one its step began with. `salt` is 32 hex digits, new for each rollout. `step` counts from 0; a canary with a
    share of 0 waits for its first step. `began_ns` and `stepped_ns` are the beginnings of rollout and step,
    `extended_ns` when a person let it go on after the step came to no verdict. `previous` is the champion before this
    one, which a rollback returns to. `slow_ns` and `high_score` are thresholds of events, frozen when the canary
    begins. `why` is for people, `held_for` for us.
    """

    champion: Arm
    epoch: int = 0
    canary: Arm | None = None
    rollout: int = 0
    salt: str = ""
    step: int = 0
    stepped: int = 0
    share: float = 0.0
    began_ns: int = 0
    stepped_ns: int = 0
    extended_ns: int = 0
    state: str = STEADY
    challengers: tuple[Challenger, ...] = ()
    previous: Arm | None = None
    approvals: tuple[str, ...] = ()
    slow_ns: int = 0
    high_score: float | None = None
    why: str = ""
    held_for: str = ""

    def __post_init__(self) -> None:
        if self.state not in STATES or (self.state == STEADY) != (self.canary is None):
            raise RolloutRefused(f"a stage is one of {', '.join(STATES)}, and steady without a canary only")
        if not 0.0 <= self.share <= 1.0 or len(self.challengers) > MAX_CHALLENGERS:
            raise RolloutRefused(f"a share is between 0 and 1, and challengers are at most {MAX_CHALLENGERS}")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "Stage":
        """Raises RolloutRefused on what this version does not know: to pass over it could serve what nobody asked."""
        try:
            given = dict(found)
            given["champion"] = Arm(**given["champion"])
            for name in ("canary", "previous"):
                given[name] = Arm(**given[name]) if given.get(name) else None
            given["challengers"] = tuple(
                Challenger(**{**each, "arm": Arm(**each["arm"])}) for each in given.get("challengers", ())
            )
            given["approvals"] = tuple(given.get("approvals", ()))
            return cls(**given)
        except (KeyError, TypeError, ValueError):
            raise RolloutRefused("the ledger's stage is of another version of Scoreline; upgrade this host") from None


def start_shadow(stage: Stage, arm: Arm, seq: int, now_ns: int) -> Stage:
    """`arm` scores all traffic from now on and answers none of it."""
    _not_the_champion(stage, arm)
    if arm.digest in (each.arm.digest for each in stage.challengers):
        raise RolloutRefused(f"version {arm.version} is in shadow already; `scoreline rollout status` shows it")
    if len(stage.challengers) == MAX_CHALLENGERS:
        versions = ", ".join(each.arm.version for each in stage.challengers)
        raise RolloutRefused(
            f"there are {MAX_CHALLENGERS} challengers ({versions}); end the shadow of one of them first"
        )
    return replace(stage, epoch=seq, challengers=(*stage.challengers, Challenger(arm, seq, now_ns)))


def end_shadow(stage: Stage, digest: str, seq: int) -> Stage:
    """The challenger with this digest is scored no more; its evidence ends."""
    challenger_of(stage, digest)
    return replace(stage, epoch=seq, challengers=_without(stage, digest))


def start_canary(
    stage: Stage,
    arm: Arm,
    seq: int,
    now_ns: int,
    *,
    salt: str,
    share: float,
    slow_ns: int = 0,
    high_score: float | None = None,
) -> Stage:
    """`arm` answers `share` of the traffic. With a share of 0 it is held for the approval that comes first.

    A challenger stays in shadow beside it: what outcomes say of it goes on counting.
    """
    _not_the_champion(stage, arm)
    _no_canary(stage)
    waits = share == 0.0
    return replace(
        stage,
        epoch=seq,
        canary=arm,
        rollout=seq,
        salt=salt,
        step=0,
        stepped=seq,
        share=share,
        began_ns=now_ns,
        stepped_ns=now_ns,
        extended_ns=0,
        state=HELD if waits else RUNNING,
        approvals=(),
        slow_ns=slow_ns,
        high_score=high_score,
        why="it waits for approval before its first step" if waits else "",
        held_for=APPROVAL if waits else "",
    )


def step_up(stage: Stage, step: int, share: float, seq: int, now_ns: int) -> Stage:
    """The canary answers a larger share, and every unit it answered before: assignment is nested."""
    not_paused(stage)
    if share <= stage.share:
        raise RolloutRefused(
            f"the canary has {stage.share * 100:.6g} % already; a step goes up, to go down roll it back"
        )
    return replace(
        stage,
        epoch=seq,
        step=step,
        stepped=seq,
        share=share,
        stepped_ns=now_ns,
        state=RUNNING,
        why="",
        held_for="",
    )


def hold(stage: Stage, why: str, held_for: str = PERSON) -> Stage:
    """The canary keeps its share and goes no further until someone, or what it is held for, lets it."""
    not_paused(stage)
    return replace(stage, state=HELD, why=why, held_for=held_for)


def pause(stage: Stage, why: str) -> Stage:
    """As a hold, but nothing except a person ends it; evidence against the canary still rolls it back."""
    canary_of(stage)
    if stage.state == PAUSED:
        raise RolloutRefused(f"the canary is paused already: {stage.why}")
    return replace(stage, state=PAUSED, why=why, held_for="")


def resume(stage: Stage, now_ns: int) -> Stage:
    """The canary goes on from where it stands; after no verdict its step has another horizon, and no bound of units."""
    canary_of(stage)
    if stage.state == RUNNING:
        raise RolloutRefused("the canary is running: there is nothing to resume")
    if stage.held_for == APPROVAL:
        raise RolloutRefused(f"{stage.why}; approve it instead")
    extended_ns = now_ns if stage.held_for == NO_VERDICT else stage.extended_ns
    return replace(stage, state=RUNNING, why="", held_for="", extended_ns=extended_ns)


def approve(stage: Stage, who: str, sealer: str) -> Stage:
    """`who` approves this rollout, once, and not who sealed the version. It may come before it is waited for."""
    canary = canary_of(stage)
    if who == sealer:
        raise RolloutRefused(f"{who} sealed version {canary.version}; somebody else must approve it")
    if who in stage.approvals:
        raise RolloutRefused(f"{who} has approved this rollout already")
    approved = replace(stage, approvals=(*stage.approvals, who))
    return replace(approved, state=RUNNING, why="", held_for="") if stage.held_for == APPROVAL else approved


def promote(stage: Stage, seq: int, now_ns: int, digest: str = "") -> Stage:
    """The canary becomes the champion; or the challenger with this digest, which only a person may ask for."""
    if stage.canary is not None and digest in ("", stage.canary.digest):
        return _crowned(stage, stage.canary, seq, now_ns)
    if not digest:
        raise RolloutRefused("there is no canary to promote; start one, or name the challenger to promote")
    _no_canary(stage)
    return _crowned(stage, challenger_of(stage, digest).arm, seq, now_ns)


def serve(stage: Stage, arm: Arm, seq: int, now_ns: int) -> Stage:
    """`arm` becomes the champion without a rollout: what an alias that is followed asks for."""
    _not_the_champion(stage, arm)
    _no_canary(stage)
    return _crowned(stage, arm, seq, now_ns)


def roll_back(stage: Stage, seq: int, _: int) -> Stage:
    """The canary is gone, from shadow too."""
    return _steady(replace(stage, epoch=seq, challengers=_without(stage, canary_of(stage).digest)))


def take_back(stage: Stage, version: str, seq: int, now_ns: int) -> Stage:
    """The champion before answers again, where the champion is this version: asked twice it does nothing more."""
    _no_canary(stage)
    if stage.champion.version != version:
        raise RolloutRefused(f"version {version} is not the champion, but version {stage.champion.version}")
    if stage.previous is None:
        raise RolloutRefused("there is no earlier champion to return to; promote the version that should answer")
    return replace(_crowned(stage, stage.previous, seq, now_ns), previous=None)


def not_paused(stage: Stage) -> None:
    """Raises RolloutRefused where there is no canary, or a person has paused it."""
    canary_of(stage)
    if stage.state == PAUSED:
        raise RolloutRefused(f"the canary is paused: {stage.why}; resume it first")


def canary_of(stage: Stage) -> Arm:
    """The canary; raises RolloutRefused where there is none."""
    if stage.canary is None:
        raise RolloutRefused("there is no canary; `scoreline rollout canary` starts one")
    return stage.canary


def challenger_of(stage: Stage, digest: str) -> Challenger:
    """The challenger with this digest; raises RolloutRefused where there is none."""
    for each in stage.challengers:
        if each.arm.digest == digest:
            return each
    raise RolloutRefused("this version is not in shadow; `scoreline rollout shadow` starts it")


def _crowned(stage: Stage, arm: Arm, seq: int, now_ns: int) -> Stage:
    """Who is left in shadow is compared with the new champion, from the beginning."""
    left = tuple(Challenger(each.arm, seq, now_ns) for each in _without(stage, arm.digest))
    return _steady(replace(stage, champion=arm, epoch=seq, previous=stage.champion, challengers=left))


def _steady(stage: Stage) -> Stage:
    """Nothing of a rollout is left but who is champion, who was, and who is in shadow."""
    return Stage(stage.champion, stage.epoch, challengers=stage.challengers, previous=stage.previous)


def _without(stage: Stage, digest: str) -> tuple[Challenger, ...]:
    return tuple(each for each in stage.challengers if each.arm.digest != digest)


def _not_the_champion(stage: Stage, arm: Arm) -> None:
    """Nor another bundle under a version that is in use: people and verdicts name versions."""
    if arm.digest == stage.champion.digest:
        raise RolloutRefused(f"version {arm.version} is the champion; name another version")
    for each in (stage.champion, stage.canary, *(challenger.arm for challenger in stage.challengers)):
        if each is not None and each.version == arm.version and each.digest != arm.digest:
            raise RolloutRefused(f"another bundle is version {arm.version} here already; seal this one as another")


def _no_canary(stage: Stage) -> None:
    if stage.canary is not None:
        raise RolloutRefused(f"version {stage.canary.version} is the canary; promote it or roll it back first")
