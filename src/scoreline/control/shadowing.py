"""Challengers as they score: each follows every segment of this host's spool, from where the database has it.

What a challenger does to the process is marked beforehand, so that the next one knows whom to blame. Who fails twice at
one place is scored no more on this host; others go on.
"""

import logging
import socket
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from scoreline.control.attempts import Attempts
from scoreline.control.challengers import keys_of
from scoreline.control.shadowmark import Mark
from scoreline.control.shadowscores import Challenger
from scoreline.core.decision import Author
from scoreline.core.errors import BundleError, ScorelineError
from scoreline.operations.state import State
from scoreline.records.database import Database
from scoreline.records.pieces import read_rows
from scoreline.records.segments import Segment, segments, size_of
from scoreline.records.shadowed import (
    CHALLENGER,
    Progress,
    add_fault,
    add_lost,
    add_scores,
    is_given_up,
    numbers_of,
    offset_of,
    place_of,
    progress,
)
from scoreline.records.shadowplaces import LOST, Key, Place, read_lost, write_places
from scoreline.settings import Settings
from scoreline.wiring import database_of, open_challenger, spool_folder, verifier

COUNT_S: Final = 1.0  # what is told of progress may be so old
RAISED: Final = "raised"
log = logging.getLogger("scoreline.shadow")


@dataclass(slots=True)
class _Following:
    """A challenger, and where it is in each segment."""

    challenger: Challenger
    given_up: bool
    offsets: dict[str, int] = field(default_factory=dict)
    authors: dict[str, dict[int, Author]] = field(default_factory=dict)
    told: Progress | None = None
    told_s: float = 0.0
    changed: bool = True

    @property
    def author(self) -> Author:
        return self.challenger.author

    def forget_all_but(self, names: set[str]) -> None:
        for kept in (self.offsets, self.authors):
            for gone in kept.keys() - names:
                del kept[gone]


class Shadow:
    """The challengers of all models on one host."""

    def __init__(self, settings: Settings, mark: Mark, database: Database | None = None) -> None:
        self._settings = settings
        self._database: Database = database or database_of(settings)
        self._state_dir = Path(settings.state_dir)
        self._spool = spool_folder(settings)
        self._host = socket.gethostname()
        self._mark = mark
        self._blamed = False
        self._followed: dict[Key, _Following] = {}
        self._lost_bytes = -1  # of the file as it was wholly counted
        self._attempts = Attempts(log)

    def look(self, state: State) -> int:
        """One piece of every segment for every challenger; how many pieces that were. Never raises."""
        wanted = dict(keys_of(state))
        for gone in self._followed.keys() - wanted.keys():
            del self._followed[gone]
        if not self._attempts("shadow", self._prepare):
            return 0
        steps: list[int] = []

        def follow(key: Key) -> None:
            steps.append(self._follow(key))

        for key, version in wanted.items():
            self._attempts(f"version {version} of {key.model} in shadow", partial(follow, key))
        self._attempts("segments that are gone", self._count_lost)
        self._attempts("how far shadow is", self._tell)
        return sum(steps)

    def _prepare(self) -> None:
        """A mark that was left says whose scoring ended the process before this one."""
        self._database.prepare_once()
        if not self._blamed:
            left = self._mark.left()
            if left:
                add_fault(self._database, left.author, left.kind, left.place, left.at_ns)
                who = left.author
                log.error("version %s of %s %s in shadow at %s", who.version, who.model, left.kind, left.place)
            self._mark.clear()
            self._blamed = True

    def _follow(self, key: Key) -> int:
        following = self._followed.get(key)
        if following is None:
            following = self._followed[key] = self._open(key)
            self._lost_bytes = -1
        found, steps = segments(self._spool), 0
        following.forget_all_but({segment.path.name for segment in found})
        for segment in found:
            if following.given_up:
                break
            steps += self._step(following, segment)
        return steps

    def _open(self, key: Key) -> _Following:
        scorer = open_challenger(self._state_dir / "bundles" / key.digest, verifier(self._settings))
        scorer = scorer.in_role(CHALLENGER, key.since)
        if scorer.author.model != key.model:
            raise BundleError(f"bundles/{key.digest} is of another model than {key.model}")
        return _Following(Challenger(scorer, self._state_dir), self._is_given_up(key))

    def _is_given_up(self, key: Key) -> bool:
        return is_given_up(self._database, numbers_of(self._database, *key), self._host)

    def _step(self, following: _Following, segment: Segment) -> int:
        """A piece of a segment: marked, scored, written; 1 where there was one."""
        name, author = segment.path.name, following.author
        offset = following.offsets.get(name)
        if offset is None:
            offset = following.offsets[name] = offset_of(self._database, author, segment)
        if size_of(segment.path) <= offset:
            return 0
        try:
            piece = read_rows(segment.path, offset, following.authors.setdefault(name, {}))
        except FileNotFoundError:
            return 0
        if piece.end == offset:
            return 0
        wanted, missed = following.challenger.rows_of(piece), 0
        found = []
        if wanted:
            place = place_of(self._host, segment, offset)
            self._mark.set(author, place)
            try:
                found = following.challenger.score(wanted)
            except Exception as error:
                self._blame(following, place, error)
                return 0
            finally:
                self._mark.clear()
            missed = sum(map(len, wanted.values())) - len(found)
        del following.offsets[name]  # whether the transaction goes through, the database knows
        if add_scores(self._database, author, segment, offset, piece.end, found, missed):
            following.offsets[name] = piece.end
        following.changed = True
        return 1

    def _blame(self, following: _Following, place: str, error: Exception) -> None:
        """A library's own error may show a row, and is named only."""
        author, why = following.author, str(error) if isinstance(error, ScorelineError) else type(error).__name__
        add_fault(self._database, author, RAISED, place, time.time_ns())
        following.changed = True
        following.given_up = self._is_given_up(Key(author.model, author.digest, author.epoch))
        log.error("version %s of %s fails in shadow at %s: %s", author.version, author.model, place, why)

    def _count_lost(self) -> None:
        """What was deleted before a challenger was through counts as missed."""
        size = size_of(self._state_dir / "shadow" / LOST)
        if size == self._lost_bytes:
            return
        is_whole = True
        for segment, keys in read_lost(self._state_dir, self._spool):
            if segment.path.exists():
                is_whole = False
                continue
            for following in (self._followed[key] for key in keys if key in self._followed):
                lost = add_lost(self._database, following.author, segment)
                following.changed |= lost > 0
        self._lost_bytes = size if is_whole else -1

    def _tell(self) -> None:
        """To whoever deletes segments, and to people."""
        places = []
        for key, following in self._followed.items():
            told, now_s = following.told, time.monotonic()
            if told is None or (following.changed and now_s - following.told_s >= COUNT_S):
                told = following.told = progress(self._database, numbers_of(self._database, *key))
                following.told_s, following.changed = now_s, False
            places.append(
                Place(*key, dict(following.offsets), told.scored, told.missed, told.faults, following.given_up)
            )
        write_places(self._state_dir, places)
