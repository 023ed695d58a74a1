"""What may follow what, by table, and by any walk through all of it."""

import json
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from scoreline.core.errors import RolloutRefused
from scoreline.rollout import stages
from scoreline.rollout.stages import (
    APPROVAL,
    HELD,
    NO_VERDICT,
    PAUSED,
    RUNNING,
    SILENCE,
    Arm,
    Challenger,
    Stage,
    approve,
    end_shadow,
    hold,
    pause,
    promote,
    resume,
    roll_back,
    serve,
    start_canary,
    start_shadow,
    step_up,
    take_back,
)
from somestages import FIVE, FOUR, ONE, SALT, SECOND, STEADY, THREE, TWO, in_canary, in_shadow

HERE = in_canary()
WAITING = in_canary(share=0.0)
FULL = in_shadow(TWO, THREE, FOUR)
CROWNED = promote(HERE, 9, 2)


def canary(stage: Stage, arm: Arm) -> Stage:
    return start_canary(stage, arm, 9, 1, salt=SALT, share=0.1)


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (lambda: start_shadow(STEADY, ONE, 9, 1), "version 1 is the champion; name another"),
        (lambda: start_shadow(FULL, TWO, 9, 1), "version 2 is in shadow already"),
        (lambda: start_shadow(FULL, FIVE, 9, 1), r"3 challengers \(2, 3, 4\); end the shadow of one"),
        (lambda: end_shadow(FULL, FIVE.digest, 9), "not in shadow; `scoreline rollout shadow`"),
        (lambda: canary(STEADY, ONE), "version 1 is the champion"),
        (lambda: canary(HERE, THREE), "version 2 is the canary; promote it or roll it back first"),
        (lambda: canary(HERE, TWO), "version 2 is the canary"),
        (lambda: step_up(STEADY, 1, 0.1, 9, 1), "there is no canary; `scoreline rollout canary`"),
        (lambda: step_up(HERE, 1, 0.01, 9, 1), r"has 1 % already; a step goes up, to go down roll it back"),
        (lambda: step_up(pause(HERE, "lunch"), 1, 0.1, 9, 1), "is paused: lunch; resume it first"),
        (lambda: hold(STEADY, "x"), "there is no canary"),
        (lambda: hold(pause(HERE, "lunch"), "x"), "is paused: lunch; resume it first"),
        (lambda: pause(STEADY, "x"), "there is no canary"),
        (lambda: pause(pause(HERE, "lunch"), "x"), "is paused already: lunch"),
        (lambda: resume(STEADY, 1), "there is no canary"),
        (lambda: resume(HERE, 1), "nothing to resume"),
        (lambda: resume(WAITING, 1), "approve it instead"),
        (lambda: approve(STEADY, "ann", "bob"), "there is no canary"),
        (lambda: approve(HERE, "bob", "bob"), "bob sealed version 2; somebody else must approve"),
        (lambda: approve(approve(HERE, "ann", "bob"), "ann", "bob"), "ann has approved this rollout already"),
        (lambda: promote(STEADY, 9, 1), "no canary to promote; start one, or name the challenger"),
        (lambda: promote(FULL, 9, 1, FIVE.digest), "not in shadow"),
        (lambda: promote(replace(HERE, challengers=FULL.challengers), 9, 1, THREE.digest), "version 2 is the canary"),
        (lambda: serve(STEADY, ONE, 9, 1), "version 1 is the champion"),
        (lambda: start_shadow(STEADY, Arm("1", "9" * 64), 9, 1), "another bundle is version 1 here already"),
        (lambda: start_shadow(HERE, Arm("2", "9" * 64), 9, 1), "another bundle is version 2 here already"),
        (lambda: canary(in_shadow(THREE), Arm("3", "9" * 64)), "another bundle is version 3 here already"),
        (lambda: serve(HERE, THREE, 9, 1), "version 2 is the canary"),
        (lambda: roll_back(STEADY, 9, 1), "there is no canary"),
        (lambda: take_back(STEADY, "1", 9, 1), "no earlier champion to return to; promote"),
        (lambda: take_back(CROWNED, "1", 9, 1), "version 1 is not the champion, but version 2"),
        (lambda: take_back(take_back(CROWNED, "2", 10, 3), "2", 11, 4), "version 2 is not the champion"),
        (lambda: take_back(HERE, "1", 9, 1), "version 2 is the canary"),
    ],
)
def test_what_cannot_be_done_is_refused_with_what_can(step: Callable[[], Stage], words: str) -> None:
    with pytest.raises(RolloutRefused, match=words):
        step()


def test_a_version_goes_from_shadow_to_champion() -> None:
    shadow = start_shadow(STEADY, TWO, 4, 10)
    assert shadow == replace(STEADY, epoch=4, challengers=(Challenger(TWO, 4, 10),))
    first = start_canary(shadow, TWO, 5, 20, salt=SALT, share=0.01, slow_ns=7, high_score=0.9)
    assert (first.epoch, first.rollout, first.began_ns, first.stepped_ns, first.state) == (5, 5, 20, 20, RUNNING)
    assert first.challengers == shadow.challengers, "its outcomes go on counting"
    second = step_up(first, 1, 0.1, 6, 30)
    assert second == replace(first, epoch=6, step=1, stepped=6, share=0.1, stepped_ns=30)
    assert promote(second, 7, 40) == Stage(TWO, 7, previous=ONE)


def test_who_stays_in_shadow_is_compared_with_the_new_champion_from_the_beginning() -> None:
    crowned = promote(in_shadow(TWO, THREE), 9, 50, TWO.digest)
    assert crowned == Stage(TWO, 9, previous=ONE, challengers=(Challenger(THREE, 9, 50),))
    assert serve(in_shadow(TWO, THREE), FOUR, 9, 50).challengers == (Challenger(TWO, 9, 50), Challenger(THREE, 9, 50))
    assert take_back(crowned, "2", 10, 60).challengers == (Challenger(THREE, 10, 60),)


def test_a_rollback_ends_the_canary_and_a_champion_taken_back_is_followed_by_the_one_before() -> None:
    within = replace(HERE, challengers=in_shadow(TWO, THREE).challengers, previous=FIVE)
    assert roll_back(within, 9, 1) == Stage(ONE, 9, previous=FIVE, challengers=in_shadow(THREE).challengers)
    assert take_back(CROWNED, "2", 10, 3) == Stage(ONE, 10)
    assert roll_back(pause(HERE, "lunch"), 9, 1) == Stage(ONE, 9)


def test_holding_pausing_resuming_and_approving_change_nothing_workers_do() -> None:
    held = hold(HERE, "nothing seen", SILENCE)
    assert held == replace(HERE, state=HELD, why="nothing seen", held_for=SILENCE)
    assert hold(held, "nothing seen", SILENCE) == held
    paused = pause(held, "lunch")
    assert paused == replace(HERE, state=PAUSED, why="lunch")
    assert resume(paused, 5) == resume(held, 5) == HERE
    assert approve(HERE, "ann", "bob") == replace(HERE, approvals=("ann",))


def test_approval_lets_go_what_waited_for_it_and_nothing_else() -> None:
    assert (WAITING.state, WAITING.held_for, WAITING.share) == (HELD, APPROVAL, 0.0)
    approved = approve(WAITING, "ann", "bob")
    assert (approved.state, approved.why, approved.approvals) == (RUNNING, "", ("ann",))
    held = hold(HERE, "nothing seen", SILENCE)
    assert approve(held, "ann", "bob") == replace(held, approvals=("ann",))
    assert step_up(approved, 0, 0.01, 5, 1).step == 0


def test_after_no_verdict_a_person_gives_another_horizon() -> None:
    assert resume(hold(HERE, "no verdict in 14 days", NO_VERDICT), 77).extended_ns == 77
    assert resume(hold(HERE, "wait"), 77).extended_ns == 0


def test_a_new_rollout_begins_with_nothing_of_the_last() -> None:
    once = approve(HERE, "ann", "bob")
    again = canary(roll_back(once, 5, 2), THREE)
    assert (again.approvals, again.rollout, again.extended_ns, again.step) == ((), 9, 0, 0)


def test_a_stage_of_another_version_is_refused_not_guessed() -> None:
    good = HERE.to_json()
    assert Stage.from_json({"champion": good["champion"]}) == Stage(ONE)
    for bad in (
        {},
        {**good, "new": 1},
        {**good, "champion": "x"},
        {**good, "champion": {"version": "1"}},
        {**good, "challengers": [{"arm": good["champion"]}]},
        {**good, "challengers": 7},
    ):
        with pytest.raises(RolloutRefused, match="another version of Scoreline; upgrade"):
            Stage.from_json(bad)
    for bad in ({**good, "canary": None}, {**good, "state": "steady"}, {**good, "state": "?"}, {**good, "share": 1.5}):
        with pytest.raises(RolloutRefused):
            Stage.from_json(bad)


ARMS = st.sampled_from((ONE, TWO, THREE, FOUR, FIVE))


class AnyWalk(RuleBasedStateMachine):
    """Any steps in any order, refused ones included: the laws that hold after each."""

    @initialize()
    def begin(self) -> None:
        self.stage, self.seq = Stage(ONE), 0

    def take(self, step: Callable[[int], Stage], *, changes_workers: bool = True) -> None:
        before, self.seq = self.stage, self.seq + 1
        try:
            self.stage = step(self.seq)
        except RolloutRefused as refused:
            self.seq -= 1
            assert str(refused)
            return
        assert self.stage.epoch == (self.seq if changes_workers else before.epoch)
        if not changes_workers:
            seen_by_workers = ("champion", "canary", "share", "salt", "challengers", "rollout", "step")
            assert all(getattr(self.stage, name) == getattr(before, name) for name in seen_by_workers)

    @rule(arm=ARMS)
    def shadow(self, arm: Arm) -> None:
        self.take(lambda seq: start_shadow(self.stage, arm, seq, seq * SECOND))

    @rule(arm=ARMS)
    def unshadow(self, arm: Arm) -> None:
        self.take(lambda seq: end_shadow(self.stage, arm.digest, seq))

    @rule(arm=ARMS, share=st.sampled_from((0.0, 0.01, 0.1)))
    def canary(self, arm: Arm, share: float) -> None:
        self.take(lambda seq: start_canary(self.stage, arm, seq, seq, salt=SALT, share=share))

    @rule(share=st.sampled_from((0.1, 0.5, 1.0)))
    def up(self, share: float) -> None:
        self.take(lambda seq: step_up(self.stage, self.stage.step + 1, share, seq, seq))

    @rule(held_for=st.sampled_from((SILENCE, APPROVAL, NO_VERDICT, stages.PERSON)))
    def hold(self, held_for: str) -> None:
        self.take(lambda _: hold(self.stage, "why", held_for), changes_workers=False)

    @rule()
    def pause(self) -> None:
        self.take(lambda _: pause(self.stage, "why"), changes_workers=False)

    @rule()
    def resume(self) -> None:
        self.take(lambda seq: resume(self.stage, seq), changes_workers=False)

    @rule(who=st.sampled_from(("ann", "bob", "cai")))
    def approve(self, who: str) -> None:
        self.take(lambda _: approve(self.stage, who, "bob"), changes_workers=False)

    @rule(digest=st.just("") | ARMS.map(lambda arm: arm.digest))
    def promote(self, digest: str) -> None:
        self.take(lambda seq: promote(self.stage, seq, seq, digest))

    @rule(arm=ARMS)
    def serve(self, arm: Arm) -> None:
        self.take(lambda seq: serve(self.stage, arm, seq, seq))

    @rule()
    def rollback(self) -> None:
        self.take(lambda seq: roll_back(self.stage, seq, seq))

    @rule()
    def take_back(self) -> None:
        self.take(lambda seq: take_back(self.stage, self.stage.champion.version, seq, seq))

    @invariant()
    def laws(self) -> None:
        stage = self.stage
        digests = [each.arm.digest for each in stage.challengers]
        assert len(set(digests)) == len(digests) <= 3 and stage.champion.digest not in digests
        assert stage.canary is None or stage.canary.digest != stage.champion.digest
        assert "bob" not in stage.approvals
        assert bool(stage.held_for) == (stage.state == HELD) and bool(stage.why) == (stage.state in (HELD, PAUSED))
        if stage.canary is None:
            left: dict[str, Any] = {field.name: getattr(stage, field.name) for field in fields(stage)}
            for name in ("champion", "epoch", "challengers", "previous"):
                left.pop(name)
            assert left == {field.name: field.default for field in fields(stage) if field.name in left}
        assert Stage.from_json(json.loads(json.dumps(stage.to_json()))) == stage


test_any_walk = AnyWalk.TestCase
