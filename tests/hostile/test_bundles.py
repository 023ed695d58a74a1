"""Bundles that somebody touched: refused, whatever was done, and nothing in them is executed.

What is no plain file, too large, not listed or of other bytes is in tests/core/test_bundle.py; golden rows that do not
fit in there too; signatures in tests/test_signing.py; a model that ends its process in tests/operations/test_trial.py.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from models import edit, opened, rewrite, sealed_bundle, sign_again, trust
from scoreline.core.bundle import SIGNATURE, Bundle, read_bundle
from scoreline.core.errors import BundleError, NotFound, SealRefused, SignatureRefused
from scoreline.core.manifest import MANIFEST
from scoreline.engines.load import load_engine
from scoreline.sealing.mlflow import model_file
from scoreline.sealing.read import read_model
from scoreline.signing import TrustStore

FLIPS_AT_LEAST = 20_000
HASHED = ("manifest.json", "golden.json", "profile.json", "model.ubj", "model.onnx")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed_bundle(tmp_path_factory.mktemp("small"))


@pytest.fixture
def bundle(small: Path, tmp_path: Path) -> Path:
    """A copy of the small bundle with its keys beside it."""
    for key in small.parent.glob("signing.*"):
        shutil.copy(key, tmp_path)
    return shutil.copytree(small, tmp_path / "m-1")


def flips(path: Path, places: Iterator[int] | range) -> Iterator[int]:
    """Flips bits of one byte after another, each place while it is yielded."""
    masks = np.random.default_rng(0).integers(1, 256, path.stat().st_size).tolist()
    raw = path.read_bytes()
    fd = os.open(path, os.O_RDWR)
    try:
        for place in places:
            os.pwrite(fd, bytes([raw[place] ^ masks[place]]), place)
            yield place
            os.pwrite(fd, raw[place : place + 1], place)
    finally:
        os.close(fd)


def is_refused(path: Path, store: TrustStore) -> bool:
    try:
        read_bundle(path, store)
    except BundleError:
        return True
    return False


def test_no_byte_of_a_hashed_file_can_be_flipped(bundle: Path) -> None:
    """All bytes of the manifest, and of the other files as many as make up 20,000, at places of a fixed seed."""
    store, rng = trust(bundle.parent), np.random.default_rng(0)
    sizes = {name: (bundle / name).stat().st_size for name in HASHED}
    assert {file.name for file in bundle.iterdir()} == {*HASHED, SIGNATURE}
    share = FLIPS_AT_LEAST / sum(sizes.values())
    tried = 0
    for name, size in sizes.items():
        whole = name == MANIFEST or share >= 1
        count = size if whole else int(size * share) + 1
        places = rng.choice(size, size=min(size, count), replace=False).tolist()
        taken = [place for place in flips(bundle / name, places) if not is_refused(bundle, store)]
        assert taken == [], name
        tried += len(places)
    assert tried >= min(FLIPS_AT_LEAST, sum(sizes.values()))
    assert not is_refused(bundle, store), "the last flip is undone"


def test_a_flipped_byte_of_the_signature_is_refused_or_means_nothing(bundle: Path) -> None:
    """A few bytes around what is signed (blanks, unused members) may change; what was signed may not."""
    store, good = trust(bundle.parent), opened(bundle)
    size = (bundle / SIGNATURE).stat().st_size
    taken = 0
    for place in flips(bundle / SIGNATURE, range(size)):
        try:
            found: Bundle = read_bundle(bundle, store)
        except BundleError:
            continue
        taken += 1
        assert (found.manifest, found.files, found.signed_by) == (good.manifest, good.files, good.signed_by), place
    assert taken < size / 50


@pytest.mark.parametrize("name", (*HASHED, SIGNATURE))
def test_a_truncated_file_is_refused(bundle: Path, name: str) -> None:
    raw, store = (bundle / name).read_bytes(), trust(bundle.parent)
    for length in {0, 1, 2, len(raw) - 1, len(raw) - 2, *np.linspace(0, len(raw) - 1, 200, dtype=int).tolist()}:
        (bundle / name).write_bytes(raw[:length])
        assert is_refused(bundle, store), length
    for longer in (raw + b"\0", raw + b"\n", raw + raw):
        (bundle / name).write_bytes(longer)
        assert is_refused(bundle, store) or (name == SIGNATURE and longer == raw + b"\n")


@pytest.mark.parametrize(
    "file", ("notes.txt", ".hidden", "__init__.py", "model.pkl", "MLmodel", "conftest.py", "model.sig.old", "manifest")
)
def test_an_extra_file_is_refused(bundle: Path, file: str) -> None:
    (bundle / file).write_bytes(b"")
    with pytest.raises(SignatureRefused, match="signed for other bytes"):
        opened(bundle)
    sign_again(bundle)
    with pytest.raises(BundleError, match="not those its manifest lists"):
        opened(bundle)


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw.replace(b'"name":"m"', b'"name":"m","name":"other"', 1),
        lambda raw: raw.replace(b'{"classes"', b'{"version":"9","classes"', 1),
        lambda raw: raw.replace(b'"files":{', b'"files":{"model.ubj":"' + b"0" * 64 + b'",', 1),
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw.replace(b'"outputs":1', b'"outputs":NaN', 1),
        lambda raw: raw.replace(b'"outputs":1', b'"outputs":1e999', 1),
        lambda raw: raw.replace(b'"outputs":1', b'"outputs":1.0', 1),
        lambda raw: raw.replace(b'"outputs":1', b'"outputs":%s' % (b"9" * 5000), 1),
        lambda raw: raw.replace(b'"outputs":1', b'"outputs":%s1%s' % (b"[" * 100_000, b"]" * 100_000), 1),
        lambda raw: raw.replace(b'"name":"m"', b'"name":"\\ud800"', 1),
        lambda raw: raw[:-1],
        lambda raw: b"",
        lambda raw: b"null",
        lambda raw: b"[]",
        lambda raw: raw.decode().encode("utf-16"),
    ],
)
def test_a_signed_manifest_that_is_not_strict_is_refused(bundle: Path, change: Callable[[bytes], bytes]) -> None:
    rewrite(bundle, MANIFEST, change)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        opened(bundle)


@pytest.mark.parametrize("member", ('"rows":[],', '"margins":[],', '"a":1,"a":2,'))
def test_a_key_twice_in_signed_golden_rows_is_refused(bundle: Path, member: str) -> None:
    rewrite(bundle, "golden.json", lambda raw: b"{" + member.encode() + raw[1:])
    with pytest.raises(BundleError, match=r"golden\.json is not strict JSON: a key stands twice"):
        load_engine(opened(bundle))


@pytest.mark.parametrize(
    "name",
    ("../model.ubj", "/etc/passwd", "a/b", "..", ".", "model\\x", "model.ubj\0", "", "CON:", "-rf", "a" * 65, "é"),
)
def test_a_file_name_that_is_a_path_is_refused(bundle: Path, name: str) -> None:
    def change(manifest: dict[str, dict[str, str]]) -> None:
        manifest["files"][name] = manifest["files"].pop("profile.json")

    edit(bundle, MANIFEST, change)
    with pytest.raises(BundleError, match="files maps plain file names to SHA-256 digests"):
        opened(bundle)


@pytest.mark.parametrize("where", ("../../../escaped", "/tmp", "bundles/../../x"))
def test_an_engine_that_names_a_path_is_refused(bundle: Path, where: str) -> None:
    edit(bundle, MANIFEST, lambda manifest: manifest["engines"][0].update(file=where))
    with pytest.raises(BundleError, match="is not among the bundle's files"):
        opened(bundle)


def test_a_folder_of_links_is_refused_though_every_byte_is_right(bundle: Path) -> None:
    for name in (*HASHED, SIGNATURE):
        linked = shutil.copytree(bundle, bundle.parent / f"linked-{name}")
        (linked / name).rename(bundle.parent / f"away-{name}")
        (linked / name).symlink_to(bundle.parent / f"away-{name}")
        with pytest.raises(BundleError, match="cannot be read as a plain file"):
            opened(linked)
        (linked / name).unlink()
        os.mkfifo(linked / name)
        with pytest.raises(BundleError, match="not a plain file"):
            opened(linked)


def test_an_old_signed_version_is_refused_where_revoked(bundle: Path) -> None:
    public, good = bundle.parent / "signing.pub", opened(bundle)
    for revoked in (good.manifest.digest, *good.manifest.files.values()):
        with pytest.raises(SignatureRefused, match="this bundle is revoked"):
            read_bundle(bundle, TrustStore.from_files([public], revoked_digests=[revoked]))
    with pytest.raises(SignatureRefused, match="is revoked"):
        read_bundle(bundle, TrustStore.from_files([public], revoked_keys=[good.signed_by]))


CANARY = b"cos\nsystem\n(S'touch %s'\ntR."


@pytest.mark.parametrize(
    "flavors",
    [
        "python_function:\n    loader_module: evil\n    python_version: 3.11.7\n    code: code\n",
        "python_function:\n    loader_module: evil\n  sklearn:\n    pickled_model: model.pkl\n    code: code\n",
        "xgboost:\n    data: model.ubj\n    code: code\n  python_function:\n    loader_module: evil\n",
        "xgboost:\n    data: model.json\n    model_class: evil.Model\n",
        "lightgbm:\n    data: model.txt\n    loader_module: evil\n",
        "lightgbm:\n    data: model.pkl\n",
        "xgboost:\n    data: ../model.pkl\n",
        "xgboost:\n    data: /etc/passwd\n",
        "xgboost:\n    data: !!python/object/apply:os.system ['touch CANARY']\n",
        "!!python/object/apply:os.system ['touch CANARY']: {}\n",
    ],
)
def test_no_loader_pickle_or_tag_of_an_mlflow_folder_is_executed(
    tmp_path: Path, flavors: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    canary, folder = tmp_path / "canary", tmp_path / "model"
    (folder / "code").mkdir(parents=True)
    evil = f"import pathlib\npathlib.Path({str(canary)!r}).touch()\n"
    for place in (folder, folder / "code"):
        (place / "evil.py").write_text(evil)
    for name in ("model/model.pkl", "model/model.ubj", "model/model.json", "model/model.txt", "model.pkl"):
        (tmp_path / name).write_bytes(CANARY % str(canary).encode())
    (folder / "MLmodel").write_text(f"flavors:\n  {flavors}".replace("CANARY", str(canary)))
    monkeypatch.chdir(folder)
    with pytest.raises((SealRefused, NotFound)):
        read_model(model_file(folder), None)
    assert not canary.exists()


@pytest.mark.parametrize("name", ("model.ubj", "model.onnx"))
def test_a_pickle_for_a_signed_model_file_is_not_executed(bundle: Path, name: str) -> None:
    canary = bundle.parent / "canary"
    rewrite(bundle, name, lambda raw: CANARY % str(canary).encode())
    with pytest.raises(BundleError, match="does not load"):
        load_engine(opened(bundle))
    assert not canary.exists()
