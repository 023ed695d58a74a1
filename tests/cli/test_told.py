"""What people read of a challenger: every figure of its report that there is, and none that there is not."""

from typing import Any

from scoreline.cli.told import told_status
from scoreline.cli.toldshadow import told_backtest, told_shadow

AGREEMENT: dict[str, Any] = {
    "rows": 5000,
    "same_outcome": 0.975,
    "outcomes": [
        {"from": "approve", "to": "approve", "rows": 4875},
        {"from": "approve", "to": "decline", "rows": 25},
        {"from": "decline", "to": "approve", "rows": 100},
    ],
    "distance": {"p50": 0.01, "p90": 0.05, "p99": 0.2, "p99.9": 0.3, "max": 0.4},
}
REPORT: dict[str, Any] = {
    "scored": 5000,
    "not_scorable": 3,
    "faults": {"crashed": 2},
    "given_up": True,
    "agreement": AGREEMENT,
    "pairs": 4000,
    "loss": "brier",
    "mean_loss": 0.0812,
    "mean_loss_challenger": 0.0801,
    "difference": [-0.0005, 0.002],
    "e_better": 1.5,
    "e_safe": 250.0,
    "e_worse": 0.1,
    "e_limit": 100.0,
    "claims": ["SAFE"],
    "delta": 0.005,
    "outcomes_needed": 3400.2,
    "outcomes_missing": 0.031,
    "assumptions": ["this"],
}


def test_a_report_in_words() -> None:
    assert list(told_shadow(REPORT)) == [
        "5,000 decisions scored; 3 it cannot score; 2 times crashed",
        "it is given up: it ended its process twice at one place; end its shadow, and mend it",
        "agreement: 5,000 decisions, the same outcome in 97.5 %; scores differ by 0.01 in the middle, 0.2 at p99, "
        "0.4 at most",
        "  decline -> approve: 100",
        "  approve -> decline: 25",
        "outcomes: 4,000; mean brier loss 0.0801, the champion's 0.0812; between -0.0005 and 0.002 better",
        "claims: SAFE (e-values: BETTER 1.5, SAFE 250, WORSE 0.1, of 100)",
        "3.1 % of the outcomes are missing",
        "assumes: this",
    ]


def test_each_segment_is_a_line_and_what_is_left_is_said() -> None:
    one = {"segment": "at", "pairs": 300, "mean_loss": 0.2, "mean_loss_challenger": 0.1, "claims": ["BETTER", "SAFE"]}
    nobody = {**one, "segment": None, "pairs": 0}
    more = {"segment": "country", "segments": [one, nobody], "is_behind": True, "late": 12}
    lines = list(told_shadow({**REPORT, **more}))
    assert lines[-4:] == [
        "3.1 % of the outcomes are missing; 12 were reported too late",
        "  country at: 300 outcomes; mean loss 0.1, the champion's 0.2; BETTER, SAFE",
        "there is more to compare: look again",
        "assumes: this",
    ]


def test_a_backtest_in_words() -> None:
    found = {"model": "m", "version": "2", "report": {"unscored": 3, "assumptions": ["this"]}}
    assert list(told_backtest(found)) == [
        "m: version 2 on every recorded decision of the champion",
        "  3 decisions it cannot score",
        "  assumes: this",
    ]


def test_without_a_claim_it_says_how_many_outcomes_are_needed() -> None:
    lines = list(told_shadow({**REPORT, "claims": [], "faults": {}, "given_up": False, "not_scorable": 0}))
    assert lines[0] == "5,000 decisions scored"
    assert "an equal model is SAFE within 0.005 after about 3,400 outcomes" in lines
    assert [line for line in lines if line.startswith("claims: none yet")]


def test_no_data_is_said() -> None:
    nothing = {"agreement": {**AGREEMENT, "rows": 0}, "pairs": 0, "loss": "scores are no probabilities"}
    assert list(told_shadow(nothing)) == [
        "agreement: nothing compared yet",
        "outcomes: none that is final yet (loss: scores are no probabilities)",
    ]
    assert list(told_shadow({"error": "the bundle is not here"})) == [
        "nothing can be compared here: the bundle is not here"
    ]
    assert list(told_shadow({})) == []


def test_a_challenger_stands_in_the_status_with_its_report() -> None:
    status = {
        "model": "m",
        "seq": 2,
        "champion": {"version": "1"},
        "canary": None,
        "challengers": [{"version": "2", "since": "2026-11-27T18:07:51.018805+00:00", "report": {"error": "no"}}],
        "verdict": {"verdict": "HOLD", "why": "there is no canary; version 1 answers"},
    }
    assert list(told_status(status)) == [
        "m: version 1 answers (entry 2)",
        "shadow: version 2 since 2026-11-27T18:07:51Z",
        "  nothing can be compared here: no",
        "verdict: HOLD: there is no canary; version 1 answers",
    ]
