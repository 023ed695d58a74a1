"""Following a moving REF: the good is assigned, what fails its trial is tried once, and what was assigned goes on."""

from pathlib import Path

import pytest

from models import misdirect, opened, sealed_bundle, trust
from scoreline.core.errors import BundleError
from scoreline.operations import tried
from scoreline.operations.follow import install_or_keep, moved, moving, taken_up
from scoreline.operations.state import Assignment, State, write_state
from scoreline.registries.folder import FolderRegistry

REF = "folder:/m@champion"


def test_a_version_is_asked_for_once_and_what_fails_its_trial_is_tried_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good, bad, state_dir = sealed_bundle(tmp_path), sealed_bundle(tmp_path, version="2"), tmp_path / "state"
    misdirect(bad)
    write_state(state_dir, State({}))
    trials: list[str] = []
    real = tried.try_out

    def counted(path: Path, digest: str) -> None:
        trials.append(digest)
        real(path, digest)

    monkeypatch.setattr(tried, "try_out", counted)
    known, failed = {"folder": FolderRegistry(tmp_path)}, dict[str, str]()

    def look() -> str:
        found = moved(REF, known, trust(tmp_path), state_dir, failed)
        return found.manifest.version if found else ""

    (tmp_path / "m@champion").write_text("1")
    assert (look(), look()) == ("1", "1")
    taken_up(REF, opened(good).manifest.digest, state_dir)
    assert look() == ""
    (tmp_path / "m@champion").write_text("2")
    told = []
    for _ in range(3):
        with pytest.raises(BundleError, match="points beyond what it holds") as caught:
            look()
        told.append(caught.value)
    assert len({id(error) for error in told}) == 3, "one error raised again would grow by its trace each time"
    assert trials == [opened(path).manifest.digest for path in (good, bad)]
    (tmp_path / "m@champion").write_text("1")
    assert look() == ""


def test_the_champion_itself_is_not_asked_for(tmp_path: Path) -> None:
    digest, state_dir = opened(sealed_bundle(tmp_path)).manifest.digest, tmp_path / "state"
    write_state(state_dir, State({"m": Assignment("1", digest)}))
    (tmp_path / "m@champion").write_text("1")
    assert moved(REF, {"folder": FolderRegistry(tmp_path)}, trust(tmp_path), state_dir, {}) is None


def test_only_refs_that_may_move_are_followed() -> None:
    fixed = ["models:/m/3", "folder:/m/1.0-rc", "bundles/m-1"]
    assert moving(["models:/m@champion", "models:/m/Production", "folder:/m", "folder:/m@a", *fixed]) == [
        "models:/m@champion",
        "models:/m/Production",
        "folder:/m",
        "folder:/m@a",
    ]


def test_a_restart_goes_on_with_the_last_good_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The alias names a version that fails its trial: what was assigned before answers, and the log says so."""
    sealed_bundle(tmp_path)
    misdirect(sealed_bundle(tmp_path, version="2"))
    known, state_dir = {"folder": FolderRegistry(tmp_path)}, tmp_path / "state"
    (tmp_path / "m@champion").write_text("2")
    with pytest.raises(BundleError, match="points beyond what it holds"):
        install_or_keep(REF, known, trust(tmp_path), state_dir)
    good = install_or_keep("folder:/m/1", known, trust(tmp_path), state_dir).manifest
    write_state(state_dir, State({"m": Assignment(good.version, good.digest)}))
    assert install_or_keep(REF, known, trust(tmp_path), state_dir).manifest == good
    assert "folder:/m@champion cannot be taken" in caplog.text and "version 1, assigned before, goes on" in caplog.text
    with pytest.raises(BundleError, match="points beyond what it holds"):
        install_or_keep("folder:/m/2", known, trust(tmp_path), state_dir)
