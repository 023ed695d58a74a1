"""Challengers whose answers cannot be held beside the champion's: that is said, and stops nobody."""

from pathlib import Path

import pytest

from models import opened, sealed_bundle
from recorded import kept
from scoreline.core.errors import RolloutRefused
from scoreline.operations.bundles import manifest_of
from scoreline.operations.paired import Pairing, rivals
from scoreline.rollout.gates import ShadowEvidence
from scoreline.rollout.policy import Policy
from scoreline.rollout.stages import Challenger, Stage
from somedesk import arm, bundles, desk


def test_other_classes_are_told_and_nothing_is_compared(database_url: str, tmp_path: Path) -> None:
    """A status that raised would hide the other challengers, and the controller would judge none of them."""
    folder = bundles(tmp_path / "bundles", "1")
    sealed_bundle(folder, "multi:softprob", version="2", classes=["a", "b", "c"])
    with desk(database_url, folder) as found:
        kept(folder / "m-2", found.host.state_dir)
        stage = Stage(arm(folder, "1"), 1, challengers=(Challenger(arm(folder, "2"), 2, 0),))
        shown = Pairing(found.database, found.host.state_dir, Policy()).report("m", stage, stage.challengers[0])
        mine, theirs = (
            manifest_of(found.host.state_dir, opened(folder / f"m-{version}").manifest.digest) for version in "12"
        )
    assert shown.seen == ShadowEvidence()
    assert "version 2 has other classes" in shown.report["error"]
    with pytest.raises(RolloutRefused, match="nothing can be compared"):
        rivals(mine, theirs, Policy())
