"""What is to be done with challengers, by table."""

from typing import Any

import pytest

from scoreline.control.challenge import BACK, BEGIN, END, what_next
from scoreline.operations.desk import Shown
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Stage
from somestages import THREE, TWO, in_canary, in_shadow

NOTHING = ShadowEvidence()
UNSURE = ShadowEvidence(rows=900, pairs=900, e_better=2.0, e_safe=99.0, e_worse=99.0)
SAFE = ShadowEvidence(rows=900, pairs=900, e_better=2.0, e_safe=100.0)
BETTER = ShadowEvidence(rows=900, pairs=900, e_better=150.0, e_safe=20.0)
WORSE = ShadowEvidence(rows=900, pairs=900, e_safe=0.1, e_worse=101.0)
FEW, MANY = ShadowEvidence(rows=499), ShadowEvidence(rows=500)

TABLE: dict[str, tuple[dict[str, Any], Stage, list[ShadowEvidence], tuple[str, str] | None]] = {
    "no data is no pass": ({}, in_shadow(TWO), [NOTHING], None),
    "not sure": ({}, in_shadow(TWO), [UNSURE], None),
    "safe": ({}, in_shadow(TWO), [SAFE], (BEGIN, "2")),
    "better": ({}, in_shadow(TWO), [BETTER], (BEGIN, "2")),
    "worse": ({}, in_shadow(TWO), [WORSE], (END, "2")),
    "who is worse goes first": ({}, in_shadow(TWO, THREE), [SAFE, WORSE], (END, "3")),
    "the first that passes": ({}, in_shadow(TWO, THREE), [UNSURE, SAFE], (BEGIN, "3")),
    "another alpha": ({"alpha_shadow": 0.005}, in_shadow(TWO), [SAFE], None),
    "agreement of few": ({"shadow_gate": "agreement"}, in_shadow(TWO), [FEW], None),
    "agreement, then an approval": ({"shadow_gate": "agreement"}, in_shadow(TWO), [MANY], (BEGIN, "2")),
    "without a gate a person begins": ({"shadow_gate": "none"}, in_shadow(TWO), [SAFE], None),
    "without a gate who is worse goes all the same": ({"shadow_gate": "none"}, in_shadow(TWO), [WORSE], (END, "2")),
}


@pytest.mark.parametrize("case", TABLE)
def test_what_is_next(case: str) -> None:
    policy, stage, seen, wanted = TABLE[case]
    shown = [(each, Shown(found, {})) for each, found in zip(stage.challengers, seen, strict=True)]
    found = what_next(stage, shown, Policy(**policy))
    assert (found and (found.what, found.challenger.arm.version)) == wanted


def test_beside_a_canary_nobody_begins_and_who_is_worse_goes() -> None:
    stage = in_canary(challengers=in_shadow(THREE).challengers)
    (challenger,) = stage.challengers
    assert what_next(stage, [(challenger, Shown(SAFE, {}))], Policy()) is None
    found = what_next(stage, [(challenger, Shown(WORSE, {}))], Policy())
    assert found is not None and found.what == END


def test_who_fails_again_and_again_goes() -> None:
    stage = in_shadow(TWO)
    found = what_next(stage, [(stage.challengers[0], Shown(SAFE, {"given_up": True}))], Policy())
    assert found is not None and found.what == END


def test_a_canary_that_is_worse_is_rolled_back_and_one_that_is_given_up_is_judged_by_its_answers() -> None:
    stage = in_canary(challengers=in_shadow(TWO).challengers)
    (challenger,) = stage.challengers
    for seen, report, wanted in ((WORSE, {}, BACK), (SAFE, {"given_up": True}, END), (SAFE, {}, None)):
        found = what_next(stage, [(challenger, Shown(seen, report))], Policy())
        assert (found and found.what) == wanted
