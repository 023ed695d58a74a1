"""A service with a canary that a test has assigned, and failures as the spool has them."""

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from canaries import KIND
from models import edit
from scoreline.core.assign import assigned
from scoreline.core.bundle import SIGNATURE
from scoreline.core.entities import entity_hash
from scoreline.core.manifest import MANIFEST
from scoreline.operations.keys import kept_key
from scoreline.operations.leased import FILE as LEASE
from scoreline.operations.state import Assignment, Canary, read_state, write_state
from scoreline.records.frames import AUTHOR, FAILED, MAGIC, read_parts
from scoreline.records.segments import segments
from scoreline.wiring import ENTITY_KEY
from service import REPOSITORY, SealedModel, Service, serving, wait_until

SALT = "5a" * 16
PROGRAM = (sys.executable, str(REPOSITORY / "tests" / "canaries.py"))


@dataclass(frozen=True)
class Failure:
    """A version that did not score a request, as it is recorded."""

    version: str
    role: str
    epoch: int
    base: int
    kind: str
    entities: tuple[bytes, ...]


def another(model: SealedModel, name: str, change: Callable[[Any], object]) -> SealedModel:
    """The same bundle with another manifest, signed by the same key."""
    target = model.folder.parent / name
    if not target.exists():
        shutil.copytree(model.folder, target, ignore=shutil.ignore_patterns(SIGNATURE))
        edit(target, MANIFEST, change)
    return replace(model, folder=target)


def misbehaving(model: SealedModel) -> SealedModel:
    def change(manifest: Any) -> None:
        for engine in manifest["engines"]:
            engine["kind"] = KIND

    return another(model, f"{model.folder.name}-misbehaving", change)


class Rollout:
    """A service whose model has a canary."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._key = kept_key(service.state_dir / ENTITY_KEY)
        self._failures: dict[tuple[str, int], Failure] = {}

    def install(self, model: SealedModel) -> str:
        digest = model.manifest.digest
        target = self.service.state_dir / "bundles" / digest
        if not target.exists():
            shutil.copytree(model.folder, target)
        return digest

    def assign(self, assignment: Assignment) -> None:
        state = read_state(self.service.state_dir)
        write_state(self.service.state_dir, replace(state, models={**state.models, "fraud": assignment}))

    def begin(self, canary: SealedModel, share: float, epoch: int, n_workers: int = 2) -> None:
        """The canary answers its share, in every worker."""
        digest = self.install(canary)
        before = read_state(self.service.state_dir).models["fraud"]
        given = Canary(canary.manifest.version, digest, share, SALT)
        self.assign(replace(before, epoch=epoch, canary=given))
        self.wait_until_all_have(epoch, n_workers)

    def end(self, epoch: int, n_workers: int = 2) -> None:
        before = read_state(self.service.state_dir).models["fraud"]
        self.assign(replace(before, epoch=epoch, canary=None))
        self.wait_until_all_have(epoch, n_workers)

    def wait_until_all_have(self, epoch: int, n_workers: int) -> None:
        """Asks until each of the workers has recorded a decision of this epoch."""

        def writers() -> set[str]:
            self.service.post({"amount": 1.0})
            spool = self.service.state_dir / "spool"
            return {
                segment.writer
                for segment in segments(spool)
                for kind, *parts in _parts(segment.path)
                if kind == AUTHOR and parts[1]["epoch"] == epoch
            }

        wait_until(lambda: len(writers()) >= n_workers, "every worker has taken the new state")

    def is_canarys(self, customer: str, share: float) -> bool:
        return assigned(self.hash(customer), bytes.fromhex(SALT), share)

    def hash(self, customer: str) -> bytes:
        return entity_hash(customer, self._key)

    def customer(self, share: float, *, canarys: bool) -> str:
        """One who is, or is not, the canary's."""
        names = (f"c-{number}" for number in range(10_000))
        return next(name for name in names if self.is_canarys(name, share) == canarys)

    def failures(self) -> list[Failure]:
        """All that were in the spool at this call or an earlier one."""
        for segment in segments(self.service.state_dir / "spool"):
            authors: dict[int, dict[str, Any]] = {}
            for number, (kind, *parts) in enumerate(_parts(segment.path)):
                if kind == AUTHOR:
                    authors[parts[0]] = parts[1]
                elif kind == FAILED:
                    index, base, _, what, entities = parts
                    author = authors[index]
                    who = author["version"], author["role"], author["epoch"]
                    found = Failure(*who, int.from_bytes(base, "big"), what, tuple(entities))
                    self._failures[segment.path.name, number] = found
        return list(self._failures.values())


def _parts(path: Path) -> Iterator[list[Any]]:
    try:
        raw = path.read_bytes()
    except FileNotFoundError:  # shipped meanwhile
        return
    yield from (parts for parts, _ in read_parts(raw[len(MAGIC) :]))


@contextmanager
def rolling(*models: SealedModel, folder: Path, workers: int = 2, **environment: str) -> Iterator[Rollout]:
    """A service that knows the misbehaving engine. Its steward has applied the ledger, in which nothing more happens.

    So the state is the test's from here on; the steward goes on renewing the lease.
    """
    with serving(*models, folder=folder, workers=workers, program=PROGRAM, **environment) as service:
        wait_until((service.state_dir / LEASE).exists, "the steward has applied the ledger")
        yield Rollout(service)
