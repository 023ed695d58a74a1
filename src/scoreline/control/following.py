"""Following aliases: what someone moved in a registry asks for a rollout, or is served at once, as the policy says."""

import gc
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol, runtime_checkable

from scoreline.core.errors import BundleError, DatabaseDown, RolloutRefused, ScorelineError
from scoreline.core.ports import Registry, Verifier
from scoreline.core.refs import Ref
from scoreline.operations.follow import moved, taken_up
from scoreline.operations.governed import arm_of
from scoreline.operations.install import Installed
from scoreline.operations.memory import give_back_freed_memory
from scoreline.operations.rollouts import By, serve_arm, shadow, stage_of
from scoreline.records.database import Database
from scoreline.records.ledger import last

SERVE: Final = "serve"
SHADOW: Final = "shadow"
IGNORE: Final = "ignore"
log = logging.getLogger("scoreline.steward.follow")


@runtime_checkable
class Pointing(Registry, Protocol):
    """A registry whose aliases can be written."""

    def point(self, name: str, alias: str, version: str, note: str, /) -> None: ...


class Following:
    """Asks for ever what moving REFs name, in a thread of its own: a registry may take its time, its client to load."""

    def __init__(
        self,
        refs: Sequence[str],
        registries: Mapping[str, Registry],
        database: Database,
        state_dir: Path,
        trust: Callable[[], Verifier],
        *,
        asks_for: str,
        poll_ms: int,
        leads: Callable[[], bool] = lambda: False,
        on_refused: Callable[[BundleError], None] = lambda _: None,
    ) -> None:
        self._refs = refs
        self._registries = registries
        self._database = database
        self._state_dir = state_dir
        self._trust = trust
        self._asks_for = asks_for
        self._poll_s = poll_ms / 1e3
        self._leads = leads
        self._on_refused = on_refused
        self._failed: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._ending = threading.Event()

    def start(self) -> None:
        if self._refs:
            threading.Thread(target=self._run, name="following", daemon=True).start()

    def finish(self) -> None:
        self._ending.set()

    def look(self, ref: str) -> None:
        """Takes up what a REF names by now; what cannot be is said once, and what answers goes on.

        A full collection after a version empties CPython's free lists too: reading bundles fills them, by 1.4 MB.
        """
        said = ""
        try:
            found = moved(ref, self._registries, self._trust(), self._state_dir, self._failed)
            if found:
                self._take_up(ref, found)
                gc.collect()
                give_back_freed_memory()
            if self._asks_for != IGNORE and self._leads():
                self._mirror(Ref.parse(ref))
        except (ScorelineError, OSError) as error:
            said = "the database cannot be asked" if isinstance(error, DatabaseDown) else str(error)
            if said != self._said.get(ref):
                log.error("%s is not followed now, and what was assigned goes on: %s", ref, error)
                if isinstance(error, BundleError):
                    self._on_refused(error)
        except Exception:
            log.exception("%s is not followed now, and what was assigned goes on", ref)
        self._said[ref] = said

    def _take_up(self, ref: str, found: Installed) -> None:
        manifest = found.manifest
        arm = arm_of(ref, manifest.name, manifest.version, manifest.digest)
        by = By("registry", f"{ref} names version {manifest.version} now")
        self._database.prepare_once()
        try:
            if self._asks_for == SERVE:
                serve_arm(self._database, manifest.name, arm, by)
                log.info("%s names version %s now: assigned", ref, manifest.version)
            elif self._asks_for == SHADOW:
                shadow(self._database, manifest.name, arm, by)
                log.info("%s names version %s now: in shadow until it has proven itself", ref, manifest.version)
            else:
                log.info("%s names version %s now: rollout.alias_moved says to ignore it", ref, manifest.version)
        except RolloutRefused as error:
            log.warning("%s names version %s now, which is not taken up: %s", ref, manifest.version, error)
        taken_up(ref, manifest.digest, self._state_dir)

    def _mirror(self, ref: Ref) -> None:
        """Has an alias in MLflow name the champion, once what it named is taken up: others who use it get that too."""
        registry = self._registries[ref.scheme]
        if not ref.alias or not isinstance(registry, Pointing):
            return
        entry = last(self._database, ref.name)
        if entry is None:
            return
        champion = stage_of(entry).champion
        is_there = champion.ref == f"{ref.scheme}:/{ref.name}/{champion.version}"
        if is_there and registry.resolve(str(ref)).version != champion.version:
            registry.point(ref.name, ref.alias, champion.version, f"the ledger's entry {entry.seq}")
            taken_up(str(ref), champion.digest, self._state_dir)
            log.info("%s names version %s now, the champion", ref, champion.version)

    def _run(self) -> None:
        while not self._ending.is_set():
            for ref in self._refs:
                self.look(ref)
            self._ending.wait(self._poll_s)
