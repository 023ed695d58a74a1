"""`access.json`: which keys count, as workers read it. Written by the steward, replaced atomically.

It is apart from `state.json`: a key that changes loads no model, and each of the two has one writer.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scoreline.access.caller import Caller
from scoreline.access.keyring import Keyring
from scoreline.core.errors import NotFound, SettingError
from scoreline.operations.files import make_folder, replace_text

FILE: Final = "access.json"
FORMAT: Final = 1
USED: Final = "used"
USED_S: Final = 60.0
ASKED: Final = "jwks.asked"
ASK_S: Final = 5.0
log = logging.getLogger("scoreline.access")


@dataclass(frozen=True, slots=True)
class Credentials:
    """Callers by the SHA-256 of their keys; an issuer's published keys, and when they were fetched.

    `guarded`: whether there ever was a key, so that nothing opens again when the last one is revoked.
    """

    keys: Mapping[bytes, Caller] = field(default_factory=dict)
    guarded: bool = False
    jwks: tuple[Any, ...] = ()
    fetched_ns: int = 0


def write_credentials(state_dir: Path, known: Credentials) -> None:
    """Replaces the file as a whole; only its owner may read it."""
    make_folder(state_dir)
    kept = {
        "format": FORMAT,
        "guarded": known.guarded,
        "keys": {digest.hex(): _kept(caller) for digest, caller in known.keys.items()},
        "jwks": known.jwks,
        "fetched_ns": known.fetched_ns,
    }
    replace_text(state_dir / FILE, json.dumps(kept, sort_keys=True))


def keep_credentials(state_dir: Path, known: Credentials) -> None:
    """Writes them where the file says something else: a steward that runs apart may write it, too."""
    with suppress(NotFound, SettingError):
        if read_credentials(state_dir) == known:
            return
    write_credentials(state_dir, known)


def read_credentials(state_dir: Path) -> Credentials:
    """What was written last; raises NotFound or SettingError."""
    try:
        found = json.loads((state_dir / FILE).read_text())
    except FileNotFoundError:
        raise NotFound(f"no {FILE} in {state_dir}: `scoreline serve` writes it") from None
    except (OSError, ValueError):
        raise SettingError(f"{state_dir / FILE} cannot be read, or is not JSON") from None
    try:
        if found["format"] != FORMAT:
            raise SettingError(f"{state_dir / FILE} is of another format than {FORMAT}")
        keys = {bytes.fromhex(digest): _caller(**facts) for digest, facts in found["keys"].items()}
        return Credentials(keys, bool(found["guarded"]), tuple(found["jwks"]), int(found["fetched_ns"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise SettingError(f"{state_dir / FILE} does not hold credentials") from None


class Watched:
    """The keyring as the file says, looked at several times a second; a file that cannot be read changes nothing.

    `make` makes a keyring of what is known (None: nothing is) that adds the numbers of used keys to a set.
    """

    def __init__(self, state_dir: Path, make: Callable[[Credentials | None, set[int]], Keyring]) -> None:
        self._state_dir = state_dir
        self._make = make
        self._used: set[int] = set()
        self._told_s: dict[int, float] = {}
        self._seen: tuple[int, int] | None = None
        self.ring = make(None, self._used)
        self.look()

    def look(self) -> bool:
        """Takes up what is new, and puts down which keys were used; whether the keyring is another one."""
        self._tell_used()
        try:
            status = (self._state_dir / FILE).stat()
        except OSError:
            return False
        stamp = status.st_mtime_ns, status.st_ino
        if stamp == self._seen:
            return False
        self._seen = stamp
        try:
            known = read_credentials(self._state_dir)
        except (NotFound, SettingError) as error:
            log.error("the keys are not taken, those known before count on: %s", error)
            return False
        self.ring = self._make(known, self._used)
        return True

    def _tell_used(self) -> None:
        """The time of a file named after a key's number says when it was used, at most a minute late."""
        if not self._used:
            return
        now_s = time.monotonic()
        due = [number for number in list(self._used) if now_s - self._told_s.get(number, -USED_S) >= USED_S]
        self._used.difference_update(due)
        for number in due:
            self._told_s[number] = now_s
            _touch(self._state_dir / USED / str(number))


def used_since(state_dir: Path, since: Mapping[int, int]) -> dict[int, int]:
    """When keys were used on this host, in nanoseconds by number, as far as that is later than what is known."""
    try:
        found = {int(file.name): file.stat().st_mtime_ns for file in (state_dir / USED).iterdir()}
    except (OSError, ValueError):
        return {}
    return {number: at_ns for number, at_ns in found.items() if at_ns > since.get(number, 0)}


def asking(state_dir: Path) -> Callable[[], None]:
    """What a worker calls to have the issuer's keys fetched: a file whose time says when, touched each 5 s at most."""
    asked_s = -ASK_S

    def ask() -> None:
        nonlocal asked_s
        if time.monotonic() - asked_s >= ASK_S:
            asked_s = time.monotonic()
            _touch(state_dir / ASKED)

    return ask


def asked_ns(state_dir: Path) -> int:
    """When a worker asked last, in nanoseconds since 1970; 0: never."""
    try:
        return (state_dir / ASKED).stat().st_mtime_ns
    except OSError:
        return 0


def _touch(path: Path) -> None:
    try:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    except OSError as error:  # a disk that is full: the request goes on
        log.warning("%s cannot be written: %s", path.name, error.strerror)


def _kept(caller: Caller) -> dict[str, Any]:
    return {
        "name": caller.name,
        "scopes": sorted(caller.scopes),
        "models": None if caller.models is None else sorted(caller.models),
        "priority": caller.priority,
        "number": caller.number,
        "expires_ns": caller.expires_ns,
    }


def _caller(*, scopes: list[str], models: list[str] | None, **facts: Any) -> Caller:
    return Caller(scopes=frozenset(scopes), models=None if models is None else frozenset(models), **facts)
