"""`state.json`: what workers read. Written by the steward's side, replaced atomically, never edited in place."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import NotFound, SettingError
from scoreline.operations.files import replace_text

FILE: Final = "state.json"
FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Canary:
    """The version that answers a share (0 to 1) of a model's requests: by the rollout's `salt`, in hex, which ones."""

    version: str
    digest: str
    share: float
    salt: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A version that answers the requests pinned to it, until a time in nanoseconds since 1970."""

    version: str
    digest: str
    until_ns: int


@dataclass(frozen=True, slots=True)
class Challenged:
    """A version in shadow, since which entry of the ledger."""

    version: str
    digest: str
    since: int


@dataclass(frozen=True, slots=True)
class Assignment:
    """Which bundle answers for a model, since which entry of the ledger, and which others answer beside it."""

    version: str
    digest: str
    epoch: int = 0
    canary: Canary | None = None
    pins: tuple[Pin, ...] = ()
    challengers: tuple[Challenged, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """The assignment of every model by name, and the model `/predict` answers with."""

    models: Mapping[str, Assignment]
    default: str = ""


def write_state(state_dir: Path, state: State) -> None:
    """Replaces the state as a whole: a reader sees the old one or the new one."""
    replace_text(state_dir / FILE, json.dumps({"format": FORMAT, **asdict(state)}, sort_keys=True))


def read_state(state_dir: Path) -> State:
    """The state as last written; raises NotFound or SettingError."""
    try:
        found = json.loads((state_dir / FILE).read_text())
    except FileNotFoundError:
        raise NotFound(f"no {FILE} in {state_dir}: `scoreline serve` writes it") from None
    except ValueError:
        raise SettingError(f"{state_dir / FILE} is not JSON") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise SettingError(f"{state_dir / FILE} is of another format than {FORMAT}")
    try:
        state = State(
            models={name: _assignment(**assignment) for name, assignment in found["models"].items()},
            default=found["default"],
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SettingError(f"{state_dir / FILE} does not hold a state") from None
    if state.default and state.default not in state.models:
        raise SettingError(f"{state_dir / FILE} names a default model that it does not assign")
    return state


def _assignment(
    *,
    canary: Mapping[str, Any] | None = None,
    pins: Sequence[Mapping[str, Any]] = (),
    challengers: Sequence[Mapping[str, Any]] = (),
    **given: Any,
) -> Assignment:
    """What JSON kept of an assignment; raises TypeError or ValueError."""
    found = Canary(**canary) if canary else None
    if found and not (0.0 <= found.share <= 1.0 and len(bytes.fromhex(found.salt)) <= 64):
        raise ValueError("a share is between 0 and 1, and a salt is hex")
    shadow = tuple(Challenged(**each) for each in challengers)
    return Assignment(**given, canary=found, pins=tuple(Pin(**pin) for pin in pins), challengers=shadow)
