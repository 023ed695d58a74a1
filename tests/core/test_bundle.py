"""Reading a bundle: plain files, once, verified; and nothing else in the folder."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import AnyVerifier, plain_manifest
from scoreline.core import bundle as bundle_file
from scoreline.core.bundle import read_bundle, read_files
from scoreline.core.errors import BundleError, NotFound, SignatureRefused
from scoreline.core.manifest import canonical_json

GOLDEN = {"rows": [[1.0, 2.0], [None, -0.0]], "margins": [[0.5], [0.25]]}


def write_bundle(folder: Path, golden: Any = GOLDEN, **changed: bytes) -> Path:
    """A folder that is a bundle in all but its signature, which `AnyVerifier` takes."""
    files = {"model.ubj": b"trees", "profile.json": b"{}", "golden.json": canonical_json(golden)}
    manifest = plain_manifest(files={name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()})
    folder.mkdir()
    for name, raw in {**files, "manifest.json": manifest.canonical, "model.sig": b"signed", **changed}.items():
        (folder / name).write_bytes(raw)
    return folder


def test_bundle_is_its_manifest_its_bytes_and_its_signer(tmp_path: Path) -> None:
    found = read_bundle(write_bundle(tmp_path / "b"), AnyVerifier())
    assert found.manifest.name == "plain"
    assert found.files["model.ubj"] == b"trees"
    assert "model.sig" not in found.files
    assert found.signed_by == "trusted"
    assert np.array_equal(found.golden.values, [[1.0, 2.0], [np.nan, 0.0]], equal_nan=True)
    assert np.signbit(found.golden.values[1, 1])
    assert found.golden.margins.tolist() == [[0.5], [0.25]]


def test_verifier_sees_the_digest_of_every_file_before_anything_is_parsed(tmp_path: Path) -> None:
    class Refuses:
        def verify(self, signature: bytes, digests: dict[str, str]) -> str:
            assert signature == b"signed"
            assert set(digests) == {"manifest.json", "model.ubj", "profile.json", "golden.json"}
            assert digests["manifest.json"] == hashlib.sha256(b"not JSON at all").hexdigest()
            raise SignatureRefused("no")

    folder = write_bundle(tmp_path / "b", **{"manifest.json": b"not JSON at all"})
    with pytest.raises(SignatureRefused, match="no"):
        read_bundle(folder, Refuses())


def test_files_changed_after_reading_do_not_change_what_was_read(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    found = read_bundle(folder, AnyVerifier())
    (folder / "model.ubj").write_bytes(b"other")
    assert found.files["model.ubj"] == b"trees"


def test_what_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no bundle folder"):
        read_bundle(tmp_path / "none", AnyVerifier())
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotFound, match="no bundle folder"):
        read_bundle(tmp_path / "file", AnyVerifier())


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("model.sig", "has no model.sig: seal the model"),
        ("manifest.json", "has no manifest.json"),
        ("model.ubj", "not those its manifest lists"),
        ("golden.json", "not those its manifest lists"),
    ],
)
def test_missing_file_is_refused(tmp_path: Path, name: str, problem: str) -> None:
    folder = write_bundle(tmp_path / "b")
    (folder / name).unlink()
    with pytest.raises(BundleError, match=problem):
        read_bundle(folder, AnyVerifier())


def test_bundle_without_profile_or_golden_rows_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    digest = hashlib.sha256(b"trees").hexdigest()
    manifest = plain_manifest(files={"model.ubj": digest}).canonical
    for name, raw in {"model.ubj": b"trees", "manifest.json": manifest, "model.sig": b""}.items():
        (folder / name).write_bytes(raw)
    with pytest.raises(BundleError, match=r"no profile\.json or no golden\.json"):
        read_bundle(folder, AnyVerifier())


def test_file_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", **{"notes.txt": b"hello"})
    with pytest.raises(BundleError, match="not those its manifest lists"):
        read_bundle(folder, AnyVerifier())


def test_file_of_other_bytes_than_the_manifest_lists_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b", **{"model.ubj": b"treeS"})
    with pytest.raises(BundleError, match="not those its manifest lists"):
        read_bundle(folder, AnyVerifier())


def test_symlink_is_refused_even_to_the_right_bytes(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    (folder / "model.ubj").rename(tmp_path / "elsewhere")
    (folder / "model.ubj").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BundleError, match=r"model\.ubj cannot be read as a plain file"):
        read_bundle(folder, AnyVerifier())


def test_folder_within_is_refused(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    (folder / "more").mkdir()
    with pytest.raises(BundleError, match="more is not a plain file"):
        read_bundle(folder, AnyVerifier())


def test_fifo_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    os.mkfifo(folder / "pipe")
    refused: list[str] = []

    def read() -> None:
        with pytest.raises(BundleError) as error:
            read_bundle(folder, AnyVerifier())
        refused.append(str(error.value))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(30)
    assert refused == ["pipe is not a plain file: not part of a bundle"]


def test_refusing_leaves_no_file_open(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    (folder / "zz").mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        with pytest.raises(BundleError):
            read_bundle(folder, AnyVerifier())
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_folder_of_many_files_is_not_taken_for_a_bundle(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    for number in range(bundle_file.MAX_FILES):
        (folder / f"file-{number}").write_bytes(b"")
    with pytest.raises(BundleError, match="more than 16 files: not a bundle"):
        read_bundle(folder, AnyVerifier())


def test_too_many_bytes_are_refused_before_they_are_read(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "b")
    with (folder / "model.ubj").open("wb") as file:
        file.truncate(bundle_file.MAX_BYTES + 1)  # sparse: no such bytes on disk
    with pytest.raises(BundleError, match="at most 4 GiB"):
        read_bundle(folder, AnyVerifier())


def test_limit_holds_for_all_files_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_bundle(tmp_path / "b")
    total = sum(file.stat().st_size for file in folder.iterdir())
    monkeypatch.setattr(bundle_file, "MAX_BYTES", total)
    assert sum(map(len, read_files(folder).values())) == total
    monkeypatch.setattr(bundle_file, "MAX_BYTES", total - 1)
    with pytest.raises(BundleError, match="at most"):
        read_files(folder)


def test_small_bundle_is_read_in_small_memory(tmp_path: Path) -> None:
    """A process allowed 64 MB more than it has reads a bundle of a few bytes."""
    folder = write_bundle(tmp_path / "b")
    script = (
        "import resource, sys; from pathlib import Path; from scoreline.core.bundle import read_files\n"
        "pages = int(Path('/proc/self/statm').read_text().split()[0])\n"
        "limit = pages * resource.getpagesize() + (64 << 20)\n"
        "resource.setrlimit(resource.RLIMIT_AS, (limit, limit))\n"
        "print(len(read_files(Path(sys.argv[1]))))\n"
    )
    found = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=False)
    assert found.stdout.strip() == "5", found.stderr


@pytest.mark.parametrize(
    "golden",
    [
        {},
        [],
        {"rows": [[1.0, 2.0]]},
        {"rows": [], "margins": []},
        {"rows": [[1.0, 2.0]], "margins": [[0.5], [0.5]]},
        {"rows": [[1.0]], "margins": [[0.5]]},
        {"rows": [[1.0, 2.0, 3.0]], "margins": [[0.5]]},
        {"rows": [[1.0, 2.0]], "margins": [[0.5, 0.5]]},
        {"rows": [[1.0, "x"]], "margins": [[0.5]]},
        {"rows": [5], "margins": [[0.5]]},
        {"rows": {"a": 1}, "margins": [[0.5]]},
        {"rows": [[1.0, [2.0]]], "margins": [[0.5]]},
    ],
)
def test_golden_rows_that_do_not_fit_the_model_are_refused(tmp_path: Path, golden: Any) -> None:
    found = read_bundle(write_bundle(tmp_path / "b", golden), AnyVerifier())
    with pytest.raises(BundleError, match=r"golden\.json"):
        _ = found.golden


def test_golden_rows_are_strict_json(tmp_path: Path) -> None:
    raw = json.dumps({"rows": [[float("nan"), 2.0]], "margins": [[0.5]]}).encode()
    folder = write_bundle(tmp_path / "b")
    files = {"model.ubj": b"trees", "profile.json": b"{}", "golden.json": raw}
    manifest = plain_manifest(files={name: hashlib.sha256(raw).hexdigest() for name, raw in files.items()})
    (folder / "golden.json").write_bytes(raw)
    (folder / "manifest.json").write_bytes(manifest.canonical)
    with pytest.raises(BundleError, match="NaN and Infinity are not JSON"):
        _ = read_bundle(folder, AnyVerifier()).golden
