"""A folder of bundles as a registry."""

import os
from pathlib import Path

import pytest

from models import plain_manifest
from scoreline.core.errors import NotFound
from scoreline.core.manifest import Manifest
from scoreline.core.refs import Ref
from scoreline.registries.folder import FolderRegistry


def put(root: Path, name: str, version: str, folder: str = "") -> Path:
    """A folder with the manifest of a version; registries look at nothing else."""
    path = root / (folder or f"{name}-{version}")
    path.mkdir(parents=True)
    (path / "manifest.json").write_bytes(plain_manifest(name=name, version=version).canonical)
    return path


def place(registry: FolderRegistry, ref: str) -> Path:
    """Where the bundle lies that a REF names."""
    found = registry.resolve(ref)
    path = registry.fetch(found, Path("unused"))
    assert (found.name, found.place) == (Ref.parse(ref).name, str(path))
    assert found.digest == Manifest.from_bytes((path / "manifest.json").read_bytes()).digest
    return path


def test_version_is_found_by_its_manifest_whatever_its_folder_is_called(tmp_path: Path) -> None:
    one, two = put(tmp_path, "fraud", "1", "x"), put(tmp_path, "fraud", "2", "y")
    registry = FolderRegistry(tmp_path)
    assert place(registry, "folder:/fraud/1") == one
    assert place(registry, "folder:/fraud/2") == two


def test_only_version_needs_no_name(tmp_path: Path) -> None:
    only = put(tmp_path, "fraud", "1")
    put(tmp_path, "churn", "1")
    put(tmp_path, "churn", "2")
    assert place(FolderRegistry(tmp_path), "folder:/fraud") == only


def test_champion_is_meant_where_no_version_is_named(tmp_path: Path) -> None:
    put(tmp_path, "fraud", "1")
    two = put(tmp_path, "fraud", "2")
    (tmp_path / "fraud@champion").write_text("2\n")
    registry = FolderRegistry(tmp_path)
    assert place(registry, "folder:/fraud") == two
    assert place(registry, "folder:/fraud@champion") == two


def test_alias_is_read_each_time(tmp_path: Path) -> None:
    one, two = put(tmp_path, "fraud", "1"), put(tmp_path, "fraud", "2")
    registry = FolderRegistry(tmp_path)
    (tmp_path / "fraud@blue").write_text("1")
    assert place(registry, "folder:/fraud@blue") == one
    (tmp_path / "fraud@blue").write_text("2")
    assert place(registry, "folder:/fraud@blue") == two


def test_new_version_is_found_without_starting_again(tmp_path: Path) -> None:
    registry = FolderRegistry(tmp_path)
    with pytest.raises(NotFound):
        registry.resolve("folder:/fraud/1")
    one = put(tmp_path, "fraud", "1")
    assert place(registry, "folder:/fraud/1") == one


@pytest.mark.parametrize(
    ("ref", "problem"),
    [
        ("folder:/churn", "no bundle of 'churn' in"),
        ("folder:/fraud", "'fraud' has versions 1, 2 and no champion: name one as folder:/fraud/VERSION"),
        ("folder:/fraud/3", "'fraud' has no version '3' in .*; it has 1, 2"),
        ("folder:/fraud@blue", "no alias fraud@blue in .*; write a version to that file"),
        ("folder:/fraud@champion", "no alias fraud@champion"),
        ("folder:/fraud@gone", "'fraud' has no version '9' in"),
        ("folder:/fraud@../../etc/passwd", "is not a model reference"),
        ("fraud", "is not a model reference"),
    ],
)
def test_what_is_not_there_is_not_found_and_the_message_says_what_is(tmp_path: Path, ref: str, problem: str) -> None:
    put(tmp_path, "fraud", "1")
    put(tmp_path, "fraud", "2")
    (tmp_path / "fraud@gone").write_text("9")
    with pytest.raises(NotFound, match=problem):
        FolderRegistry(tmp_path).resolve(ref)


def test_two_bundles_of_one_version_are_never_a_silent_choice(tmp_path: Path) -> None:
    put(tmp_path, "fraud", "1", "first")
    put(tmp_path, "fraud", "1", "second")
    put(tmp_path, "churn", "1")
    with pytest.raises(NotFound, match="first and second are both fraud 1"):
        FolderRegistry(tmp_path).resolve("folder:/fraud/1")
    assert place(FolderRegistry(tmp_path), "folder:/churn").name == "churn-1"


def test_what_is_no_bundle_is_passed_over(tmp_path: Path) -> None:
    one = put(tmp_path, "fraud", "1")
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "manifest.json").mkdir()
    put(tmp_path / ".fraud-2.half", "fraud", "2")  # a seal at work
    assert place(FolderRegistry(tmp_path), "folder:/fraud") == one


def test_folder_that_is_not_there_has_no_models(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no bundle of 'fraud'"):
        FolderRegistry(tmp_path / "none").resolve("folder:/fraud")


def test_what_is_no_plain_file_is_passed_over_without_waiting(tmp_path: Path) -> None:
    """A FIFO would be waited for, and a huge file read, by whoever follows the folder."""
    one = put(tmp_path, "fraud", "1")
    os.mkfifo(put(tmp_path, "fraud", "2").joinpath("manifest.json").with_suffix(".fifo"))
    (tmp_path / "fraud-2" / "manifest.fifo").rename(tmp_path / "fraud-2" / "manifest.json")
    with (put(tmp_path, "fraud", "3") / "manifest.json").open("wb") as file:
        file.truncate(5 << 30)  # sparse: no such bytes on disk
    assert place(FolderRegistry(tmp_path), "folder:/fraud") == one


def test_an_alias_that_is_no_plain_file_or_no_text_is_refused_in_one_line(tmp_path: Path) -> None:
    put(tmp_path, "fraud", "1")
    alias = tmp_path / "fraud@champion"
    alias.write_bytes(b"\xff\xfe1")
    with pytest.raises(NotFound, match="has no version"):
        FolderRegistry(tmp_path).resolve("folder:/fraud@champion")
    alias.unlink()
    os.mkfifo(alias)
    for ref in ("folder:/fraud@champion", "folder:/fraud"):
        with pytest.raises(NotFound, match="write a version to that file"):
            FolderRegistry(tmp_path).resolve(ref)
    alias.unlink()
    (tmp_path / "which").write_text("1")
    alias.symlink_to(tmp_path / "which")
    assert FolderRegistry(tmp_path).resolve("folder:/fraud").version == "1"
