"""The shadow: a process that follows this host's spool and has each challenger score what the champion answered.

Nothing of it is on the path of a request: it lags instead of shedding, and goes on where it was after a death. What a
challenger does to it is marked beforehand, so that its successor knows whom to blame; who fails twice at one place is
given up.
"""

import json
import logging
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from scoreline.core.batch import NO_DEFAULTS, Batch, Context
from scoreline.core.decision import Author, Decisions, author_from
from scoreline.core.errors import BundleError, DatabaseDown, NotFound, RowsRefused, ScorelineError
from scoreline.core.fitting import Fit, fitting
from scoreline.core.scorer import Scorer
from scoreline.operations.bundles import manifest_of
from scoreline.operations.files import replace_text
from scoreline.operations.state import Challenged, read_state
from scoreline.records.database import Database
from scoreline.records.pieces import Piece, read_rows
from scoreline.records.rows import Cells, cells_of
from scoreline.records.segments import Segment, segments, size_of
from scoreline.records.shadowed import CHALLENGER, Scored, add_fault, add_scores, numbers_of, offset_of, progress
from scoreline.records.shadowplaces import write_places
from scoreline.settings import Settings
from scoreline.wiring import database_of, open_challenger, spool_folder, verifier

PAUSE_S: Final = 0.3
IDLE_S: Final = 1.0
LIMIT_S: Final = 60.0  # for one piece
NICE: Final = 19
MARK: Final = "mark.json"
ANSWERED: Final = ("champion", "canary", "canary_failed", "mixed", "lapsed", "pinned")
_VALUES_AT: Final = 6
log = logging.getLogger("scoreline.shadow")


def run_shadow(settings: Settings, on_ready: Callable[[], None]) -> None:
    """Runs until it is ended, which it may be at any moment."""
    os.nice(NICE)
    on_ready()
    state_dir = Path(settings.state_dir)
    shadow: Shadow | None = None
    while True:
        try:
            wanted = {name: found.challengers for name, found in read_state(state_dir).models.items()}
        except ScorelineError:
            wanted = {}
        if shadow is None and any(wanted.values()):
            shadow = Shadow(settings, database_of(settings))
        steps = shadow.look(wanted) if shadow else 0
        if not steps:
            time.sleep(PAUSE_S if any(wanted.values()) else IDLE_S)


@dataclass(slots=True)
class _Following:
    """A challenger, and where it is in each segment."""

    author: Author
    scorer: Scorer
    offsets: dict[str, int] = field(default_factory=dict)
    authors: dict[str, dict[int, Author]] = field(default_factory=dict)
    fits: dict[str, Fit | None] = field(default_factory=dict)
    given_up: bool = False


class Shadow:
    """The challengers of all models on one host."""

    def __init__(self, settings: Settings, database: Database, *, limit_s: float = LIMIT_S) -> None:
        self._settings = settings
        self._database = database
        self._state_dir = Path(settings.state_dir)
        self._spool = spool_folder(settings)
        self._mark = self._state_dir / "shadow" / MARK
        self._limit_s = limit_s
        self._followed: dict[tuple[str, Challenged], _Following] = {}
        self._said = ""
        self._blamed = False

    def look(self, wanted: Mapping[str, Sequence[Challenged]]) -> int:
        """One piece of every segment for every challenger; how many pieces that were. Never raises."""
        steps, said = 0, ""
        try:
            self._prepare(wanted)
            steps = sum(self._follow(each) for each in self._followed.values() if not each.given_up)
            write_places(self._state_dir, [each.offsets for each in self._followed.values() if not each.given_up])
        except (ScorelineError, OSError) as error:
            said = "the database cannot be asked" if isinstance(error, DatabaseDown) else str(error)
            if said != self._said:
                log.error("shadow is put off: %s", error)
        except Exception as error:
            said = type(error).__name__
            if said != self._said:
                log.exception("shadow failed")
        self._said = said
        return steps

    def _prepare(self, wanted: Mapping[str, Sequence[Challenged]]) -> None:
        self._database.prepare_once()
        if not self._blamed:
            self._blame()
        named = {(model, each): each for model, many in wanted.items() for each in many}
        for gone in self._followed.keys() - named.keys():
            del self._followed[gone]
        for key in named.keys() - self._followed.keys():
            self._followed[key] = self._open(*key)

    def _open(self, model: str, challenged: Challenged) -> _Following:
        scorer = open_challenger(self._state_dir / "bundles" / challenged.digest, verifier(self._settings))
        scorer = scorer.in_role(CHALLENGER, challenged.since)
        if scorer.author.model != model:
            raise BundleError(f"bundles/{challenged.digest} is of another model than {model}")
        found = _Following(scorer.author, scorer)
        found.given_up = self._is_given_up(found.author)
        return found

    def _is_given_up(self, author: Author) -> bool:
        numbers = numbers_of(self._database, author.model, author.digest, author.epoch)
        return progress(self._database, numbers).given_up

    def _blame(self) -> None:
        """A mark that was left says whose scoring ended the process before this one."""
        if self._mark.exists():
            left = json.loads(self._mark.read_text())
            kind = "hung" if time.time() >= left["until_s"] else "crashed"
            author = author_from(left["author"])
            add_fault(self._database, author, kind, left["place"], time.time_ns())
            log.error("version %s of %s %s in shadow at %s", author.version, author.model, kind, left["place"])
            self._mark.unlink()
        self._blamed = True

    def _follow(self, following: _Following) -> int:
        found = segments(self._spool)
        names = {segment.path.name for segment in found}
        for kept in (following.offsets, following.authors):
            for gone in kept.keys() - names:
                del kept[gone]
        return sum(self._step(following, segment) for segment in found if not following.given_up)

    def _step(self, following: _Following, segment: Segment) -> int:
        """A piece of a segment: marked, scored, written; 1 where there was one."""
        name = segment.path.name
        offset = following.offsets.get(name)
        if offset is None:
            offset = following.offsets[name] = offset_of(self._database, following.author, segment)
        if size_of(segment.path) <= offset:
            return 0
        try:
            piece = read_rows(segment.path, offset, following.authors.setdefault(name, {}))
        except FileNotFoundError:
            return 0
        if piece.end == offset:
            return 0
        place = f"{name}@{offset}"
        found, missed = self._scored(following, piece, place)
        if following.given_up:
            return 0
        if add_scores(self._database, following.author, segment, offset, piece.end, found, missed):
            following.offsets[name] = piece.end
        else:
            del following.offsets[name]
        return 1

    def _scored(self, following: _Following, piece: Piece, place: str) -> tuple[list[Scored], int]:
        """The challenger's answers to what a piece decided of its model, and how many it has none for."""
        rows = defaultdict(list)
        for by, row in zip(piece.by, piece.rows, strict=True):
            author = piece.authors[by]
            if author.model == following.author.model and author.role in ANSWERED:
                rows[author.digest].append(row)
        if not rows:
            return [], 0
        self._begin(following.author, place)
        try:
            found = [one for digest, many in rows.items() for one in self._answers(following, digest, many)]
        except ScorelineError as error:
            add_fault(self._database, following.author, "raised", place, time.time_ns())
            following.given_up = self._is_given_up(following.author)
            log.error("version %s of %s fails in shadow: %s", following.author.version, following.author.model, error)
            raise
        finally:
            self._end()
        return found, sum(map(len, rows.values())) - len(found)

    def _answers(self, following: _Following, digest: str, rows: Sequence[Cells]) -> Iterator[Scored]:
        """Rows decided by one version; those the challenger has no score for are left out."""
        fit = self._fit(following, digest)
        width = len(rows[0][_VALUES_AT]) // 8
        values = np.frombuffer(b"".join(row[_VALUES_AT] for row in rows), "<f8").reshape(len(rows), width)
        batch, left = Batch(values, Context(1), NO_DEFAULTS), list(rows)
        while left:
            try:
                decisions = following.scorer(fit(batch) if fit else batch)
            except RowsRefused as refused:
                lost = {problem.row for problem in refused.problems}
                keep = [place for place in range(len(left)) if place not in lost]
                left = [left[place] for place in keep]
                batch = Batch(batch.values[keep], batch.context, NO_DEFAULTS)
            else:
                yield from _named(left, decisions)
                return

    def _fit(self, following: _Following, digest: str) -> Fit | None:
        """What makes rows that a version has used into the challenger's."""
        if digest not in following.fits:
            try:
                theirs = manifest_of(self._state_dir, digest).schema
            except NotFound:
                raise NotFound(f"version {digest[:12]}, which decided, is not here any more: pull it again") from None
            following.fits[digest] = fitting(theirs, following.scorer.schema)
        return following.fits[digest]

    def _begin(self, author: Author, place: str) -> None:
        """Marks whose turn it is, and has the system end this process where it takes too long."""
        mark: dict[str, Any] = {"author": asdict(author), "place": place, "until_s": time.time() + self._limit_s}
        replace_text(self._mark, json.dumps(mark))
        signal.setitimer(signal.ITIMER_REAL, self._limit_s)

    def _end(self) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        self._mark.unlink()


def _named(rows: Sequence[Cells], decisions: Decisions) -> Iterator[Scored]:
    outcomes = decisions.outcomes or (-1,) * len(rows)
    for row, scores, outcome in zip(rows, cells_of(decisions.scores), outcomes, strict=True):
        yield Scored(row[0], scores, outcome)
