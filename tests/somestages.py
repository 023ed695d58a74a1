"""Stages for the tests of rollouts."""

from typing import Any

from scoreline.rollout.stages import Arm, Challenger, Stage, start_canary

ONE, TWO, THREE, FOUR, FIVE = (Arm(str(version), f"{version:064x}", f"folder:/m/{version}") for version in range(1, 6))
SALT = "5a" * 16
SECOND = 1_000_000_000
STEADY = Stage(ONE, epoch=3)


def in_canary(share: float = 0.01, **changed: Any) -> Stage:
    """Version 1 is the champion, version 2 the canary since entry 4 and second 1,000."""
    return start_canary(Stage(ONE, epoch=3, **changed), TWO, 4, 1000 * SECOND, salt=SALT, share=share, slow_ns=7)


def in_shadow(*arms: Arm, **changed: Any) -> Stage:
    return Stage(ONE, 3, challengers=tuple(Challenger(arm, 2, 5) for arm in arms), **changed)
