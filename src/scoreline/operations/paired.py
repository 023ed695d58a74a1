"""Champion and challenger on the same decisions: how far they agree, and who was right once outcomes are known.

Decisions are taken from the database in the order of their requests, as `compared` folds them: every one that has its
score for agreement, and behind the watermark, where outcomes are final, by losses. It goes no further than what every
host has shipped (`reach`), and begins anew where a host that was given up brought something after all.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

from scoreline.core.errors import BundleError, NotFound, RolloutRefused
from scoreline.core.manifest import Manifest
from scoreline.operations.bundles import manifest_of
from scoreline.operations.compared import MS, Compared, Rivals, Scores, moment_of
from scoreline.operations.desk import Shown
from scoreline.operations.shadowreport import NS, report_of, seen_of
from scoreline.operations.splits import by_numbers, quarters_seen, split_by
from scoreline.records.archive import Archive
from scoreline.records.comparing import awaited, followed
from scoreline.records.database import Database
from scoreline.records.joined import Joined, Places, joined
from scoreline.records.reach import SLACK_NS, Reach, reach
from scoreline.records.shadowed import ANSWERED, numbers_of, progress, scores_of
from scoreline.records.walk import Wanted
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.losses import Loss, apart, loss_of
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Challenger, Stage

PAGE_ROWS: Final = 5000
PAGES_AT_ONCE: Final = 20  # of a service: whoever else asks waits for so many
GRACE_NS: Final = 600 * NS  # so long a decision waits for the score of a challenger that is not known to come to it
LONGEST_NS: Final = 86_400 * NS  # and of one that lags behind
LAG_NS: Final = SLACK_NS  # so late an outcome may come of what is final at once
EVER_NS: Final = 1 << 62
log = logging.getLogger("scoreline.paired")
Scoring = Callable[[Sequence[Joined]], Scores]


def rivals(
    mine: Manifest,
    theirs: Manifest,
    policy: Policy,
    in_time_ns: int | None = None,
    quarters: Sequence[float] | None = None,
) -> Rivals:
    """Champion and challenger as the policy compares them.

    `in_time_ns`: how long after a decision its outcome counts, if not just until it is final. `quarters`: of the
    numbers that are told apart by, where they are known. Raises RolloutRefused where their answers are of different
    things.
    """
    reason = apart(mine, theirs)
    if reason:
        raise RolloutRefused(f"{reason}: nothing can be compared")
    loss, why_not = _loss(mine, theirs, policy)
    final_ns = mine.maturity_s * NS + LAG_NS
    until_ns = final_ns if in_time_ns is None else in_time_ns
    return Rivals(
        mine, theirs, loss, why_not, split_by(mine.schema, policy.segment, quarters), final_ns, until_ns, policy.delta
    )


class Pairing:
    """The comparison of each challenger, kept up to date. `state_dir` has the bundles.

    `at_once`: so many pages are taken at a look, and the report says whether there are more; None: all.
    """

    def __init__(
        self,
        database: Database,
        state_dir: Path,
        policy: Policy,
        archive: Archive | None = None,
        at_once: int | None = None,
    ) -> None:
        self._database = database
        self._places = Places(None, database, archive)
        self._state_dir = state_dir
        self._policy = policy
        self._at_once = at_once
        self._found: dict[tuple[str, str, int, str], Compared] = {}
        self._reached: dict[tuple[str, str, int, str], Reach] = {}
        self._one = threading.Lock()  # routes ask from several threads

    def report(self, model: str, stage: Stage, challenger: Challenger) -> Shown:
        """What shadow shows of a challenger now, as a gate and as people read it."""
        with self._one:
            return self._report(model, stage, challenger)

    def _report(self, model: str, stage: Stage, challenger: Challenger) -> Shown:
        reached = reach(self._database, model, time.time_ns())
        try:
            compared = self._compared(model, stage, challenger, reached)
        except (NotFound, BundleError, RolloutRefused) as error:
            return Shown(ShadowEvidence(), {"error": str(error)})
        numbers = numbers_of(self._database, model, challenger.arm.digest, challenger.since)
        self._go_on(compared, model, stage.champion.digest, numbers, reached)
        done = progress(self._database, numbers)
        told = {
            **report_of(compared, self._policy),
            "late_shipped": reached.rows_since(challenger.since_ns),
            "scored": done.scored,
            "not_scorable": done.missed,
            "faults": dict(done.faults),
            "given_up": done.given_up,
        }
        return Shown(seen_of(compared), told)

    def _compared(self, model: str, stage: Stage, challenger: Challenger, reached: Reach) -> Compared:
        key = (model, challenger.arm.digest, challenger.since, stage.champion.digest)
        known, name = self._found.get(key), self._policy.segment
        if known is not None and reached.has_passed(self._reached[key], known.seen_ns):
            log.warning("%s: decisions came late, and version %s is compared anew", model, challenger.arm.version)
            known = None
        if known is None or (known.rivals.split is None and by_numbers(known.rivals.mine.schema, name)):
            mine = manifest_of(self._state_dir, stage.champion.digest)
            theirs = manifest_of(self._state_dir, challenger.arm.digest)
            quarters = self._quarters(model, mine, challenger.since_ns, reached.until_ns)
            if known is None or quarters is not None:  # then from the beginning, told apart
                found = rivals(mine, theirs, self._policy, quarters=quarters)
                self._found[key] = found.compared(challenger.since_ns)
            gone = [each for each in self._found if each[0] == model and not _is_of(stage, each)]
            for each in gone:
                del self._found[each], self._reached[each]
        self._reached[key] = reached
        return self._found[key]

    def _quarters(self, model: str, mine: Manifest, since_ns: int, until_ns: int) -> tuple[float, ...] | None:
        """Of the numbers that the policy tells apart by, once enough were seen."""
        name = self._policy.segment
        if not by_numbers(mine.schema, name):
            return None
        return quarters_seen(self._places, model, mine.digest, mine.schema.index[name], since_ns, until_ns)

    def _go_on(self, compared: Compared, model: str, champion: str, numbers: Sequence[int], reached: Reach) -> None:
        database, places, at_once = self._database, self._places, self._at_once
        # Whether an entity was decided on again until an outcome was final is known once that is shipped as well.
        loss, final_ns = compared.rivals.loss, reached.until_ns - compared.rivals.final_ns
        compared.is_behind = False
        for number, page in enumerate(_pages(places, model, champion, compared.seen_ns, reached.until_ns)):
            if number == at_once:
                compared.is_behind = True
                break
            before_ns, scores = compared.seen_ns, scores_in(database, numbers, page)
            whole = _until_awaited(database, page, scores, numbers, reached.passed_ns)
            compared.agree(whole, scores)
            if loss and compared.from_ns == before_ns and compared.seen_ns <= final_ns:  # it is read once only
                pair(database, model, compared, whole, scores)
            if len(whole) < len(page):
                break
        if loss is None:
            return
        final_ns = min(compared.seen_ns, final_ns)
        for number, page in enumerate(_pages(places, model, champion, compared.from_ns, final_ns)):
            if number == at_once:
                compared.is_behind = True
                break
            pair(database, model, compared, page, scores_in(database, numbers, page))


def backtested(places: Places, model: str, found: Rivals, scoring: Scoring, policy: Policy) -> dict[str, Any]:
    """The same report over all that is recorded of the champion, with scores as they are made now.

    Everything known by now counts of what is final by now. Raises what `scoring` does, DatabaseDown, DatabaseRefused
    or OSError.
    """
    mine, name, now_ns = found.mine, policy.segment, time.time_ns()
    if by_numbers(mine.schema, name):
        position = mine.schema.index[name]
        quarters = quarters_seen(places, model, mine.digest, position, 0, now_ns, all_there=True)
        found = replace(found, split=split_by(mine.schema, name, quarters))
    compared, final_ns = found.compared(0), now_ns - found.final_ns
    for page in _pages(places, model, mine.digest, 0, now_ns):
        scores = scoring(page)
        compared.agree(page, scores)
        final = [one for one in page if one.row.time_ns < final_ns]
        if found.loss and final and places.database:
            pair(places.database, model, compared, final, scores)
    return report_of(compared, policy)


def pair(database: Database, model: str, compared: Compared, page: Sequence[Joined], scores: Scores) -> None:
    """Takes in decisions whose outcomes are final."""
    with database.reading() as connection:
        again = followed(connection, model, compared.open(page, scores), compared.rivals.final_ns)
    compared.pair(page, scores, again)


def scores_in(database: Database, numbers: Sequence[int], page: Sequence[Joined]) -> Scores:
    """What a challenger, by the numbers of its authors, has made of decisions."""
    with database.reading() as connection:
        pieces = (page[at : at + 500] for at in range(0, len(page), 500))
        found = [scores_of(connection, numbers, [one.row.id for one in piece]) for piece in pieces]
    return dict(chain.from_iterable(each.items() for each in found))


def _is_of(stage: Stage, key: tuple[str, str, int, str]) -> bool:
    _, digest, since, champion = key
    named = {(each.arm.digest, each.since) for each in stage.challengers}
    return champion == stage.champion.digest and (digest, since) in named


def _pages(places: Places, model: str, champion: str, from_ns: int, until_ns: int) -> Iterable[list[Joined]]:
    """Decisions of the champion in the order of their requests, whole milliseconds at a time."""
    until_ns = until_ns // MS * MS
    if from_ns >= until_ns:
        return
    wanted = Wanted(model, from_ns=from_ns, until_ns=until_ns)
    found = joined(places, wanted, lambda one: one.author.digest == champion and one.author.role in ANSWERED)
    left: list[Joined] = []
    while page := list(islice(found, PAGE_ROWS)):
        page = left + page
        last = moment_of(page[-1])
        left = [one for one in page if moment_of(one) == last]
        if len(left) < len(page):
            yield page[: -len(left)]
    if left:
        yield left


def _until_awaited(
    database: Database, page: list[Joined], scores: Scores, numbers: Sequence[int], passed_ns: int
) -> list[Joined]:
    """The page up to a millisecond with a decision that may still get its score.

    Those that came late (`passed_ns`) are waited for from then on.
    """
    now_ns = time.time_ns()
    without = [one for one in page if one.row.id not in scores]
    with database.reading() as connection:
        behind = awaited(connection, numbers, [one.row.id for one in without])
    for one in without:
        if max(one.row.time_ns, passed_ns) > now_ns - (LONGEST_NS if one.row.id in behind else GRACE_NS):
            first = moment_of(one)
            return [each for each in page if moment_of(each) < first]
    return page


def _loss(mine: Manifest, theirs: Manifest, policy: Policy) -> tuple[Loss | None, str]:
    """The loss both are compared by, or why there is none."""
    stored = [
        each.name for each in theirs.schema.fields if each.source == "store" and each.name not in mine.schema.index
    ]
    if stored:
        return None, (
            f"the record does not have {', '.join(stored)}, which the challenger takes from the feature store: it is "
            "scored from defaults, and only agreement can be shown"
        )
    try:
        return loss_of(policy.loss, policy.cost_of, mine, theirs), ""
    except RolloutRefused as error:
        return None, str(error)
