"""From a verified bundle to an engine that has repeated its golden margins."""

import hashlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models import edit, keys, library_margins, opened, same_bits, sealed_bundle, sign_again, small_model
from scoreline.core.errors import BundleError, SelfTestFailed
from scoreline.engines import load
from scoreline.engines.load import build_engines, load_engine
from scoreline.engines.twin import TwinEngine
from scoreline.engines.xgboost import XGBoostEngine
from scoreline.sealing import seal
from scoreline.sealing.sklearn import read_sklearn
from sklearn_models import RANGES, small_pipeline


def test_engine_is_chosen_by_the_manifest(tmp_path: Path) -> None:
    twin = load_engine(opened(sealed_bundle(tmp_path)))
    assert isinstance(twin, TwinEngine)
    assert twin.name.startswith("onnxruntime ")
    assert " + xgboost " in twin.name
    alone = load_engine(opened(sealed_bundle(tmp_path, version="2", parameters={"booster": "dart"})))
    assert isinstance(alone, XGBoostEngine)


def one_ulp(golden: Any) -> None:
    golden["margins"][5][0] = float(np.nextafter(np.float32(golden["margins"][5][0]), np.float32(np.inf)))


def swapped(golden: Any) -> None:
    golden["margins"].reverse()


def beyond_float32(golden: Any) -> None:
    golden["margins"][63][0] += 1e-12


def nothing(golden: Any) -> None:
    golden["margins"][0][0] = None


@pytest.mark.parametrize("change", [one_ulp, swapped, beyond_float32, nothing])
@pytest.mark.parametrize("booster", ["gbtree", "dart"])
def test_golden_margins_that_are_not_repeated_refuse_the_bundle(
    tmp_path: Path, change: Callable[[Any], None], booster: str
) -> None:
    """Signed and whole, but sealed on a machine where the library sums otherwise, say."""
    path = sealed_bundle(tmp_path, parameters={"booster": booster})
    load_engine(opened(path))
    edit(path, "golden.json", change)
    with pytest.raises(SelfTestFailed, match="does not repeat the bundle's golden margins on this machine"):
        load_engine(opened(path))


@pytest.mark.parametrize("file", ["model.onnx", "model.ubj"])
def test_model_file_of_another_model_is_found_by_the_self_test(tmp_path: Path, file: str) -> None:
    path = sealed_bundle(tmp_path)
    other = sealed_bundle(tmp_path, version="2", parameters={"max_depth": 2})
    replace_file(path, file, (other / file).read_bytes())
    with pytest.raises(SelfTestFailed):
        load_engine(opened(path))


def replace_file(path: Path, file: str, raw: bytes) -> None:
    """Other bytes for a file that is not JSON, listed in the manifest and signed."""
    (path / file).write_bytes(raw)
    edit(path, "manifest.json", lambda found: found["files"].update({file: hashlib.sha256(raw).hexdigest()}))


@pytest.mark.parametrize("raw", [b"", b"garbage", b"{}", b"\x08\x08"], ids=repr)
@pytest.mark.parametrize("file", ["model.onnx", "model.ubj"])
def test_signed_model_file_that_is_malformed_refuses_the_bundle(tmp_path: Path, file: str, raw: bytes) -> None:
    path = sealed_bundle(tmp_path)
    replace_file(path, file, raw)
    with pytest.raises(BundleError, match="the bundle's model does not load"):
        load_engine(opened(path))


@pytest.mark.parametrize("file", ["model.onnx", "model.ubj"])
def test_signed_half_of_a_model_file_refuses_the_bundle(tmp_path: Path, file: str) -> None:
    path = sealed_bundle(tmp_path)
    raw = (path / file).read_bytes()
    replace_file(path, file, raw[: len(raw) // 2])
    with pytest.raises(BundleError):
        load_engine(opened(path))


def test_schema_of_another_width_than_the_model_refuses_the_bundle(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    edit(path, "golden.json", lambda found: found.update(rows=[[*row, 0.0] for row in found["rows"]]))
    edit(path, "manifest.json", lambda found: found["schema"].append({"name": "d", "type": "number"}))
    with pytest.raises(BundleError):
        load_engine(opened(path))


def test_more_outputs_than_the_model_has_refuse_the_bundle(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path, parameters={"booster": "dart"})
    edit(path, "golden.json", lambda found: found.update(margins=[row * 2 for row in found["margins"]]))
    edit(path, "manifest.json", lambda found: found.update(outputs=2, classes=["a", "b"], link="softmax"))
    with pytest.raises(BundleError, match="of other sizes"):
        load_engine(opened(path))


def test_unknown_engine_is_an_error_and_never_a_default(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    edit(path, "manifest.json", lambda found: found["engines"][0].update(kind="pickle"))
    with pytest.raises(
        BundleError, match="engine 'pickle' is unknown to this version; known: lightgbm, onnx, onnx-rows"
    ):
        load_engine(opened(path))


def test_engine_whose_library_is_not_installed_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = sealed_bundle(tmp_path)
    monkeypatch.setattr(load, "ENGINES", {**load.ENGINES, "onnx": "scoreline_no_such_library:Engine"})
    with pytest.raises(BundleError, match=r"engine 'onnx' needs scoreline_no_such_library: install scoreline\[onnx\]"):
        load_engine(opened(path))


def test_batch_sizes_of_the_twin_come_from_the_manifest(tmp_path: Path) -> None:
    bundle = opened(sealed_bundle(tmp_path))
    (small, up_to), (large, _) = build_engines(bundle.manifest, bundle.files)
    assert small.name.startswith("onnxruntime ")
    assert large.name.startswith("xgboost ")
    assert up_to == 64


def test_engines_of_a_bundle_answer_alike_at_every_size(tmp_path: Path) -> None:
    booster, _ = small_model("multi:softprob")
    path = sealed_bundle(tmp_path, "multi:softprob")
    values = np.random.default_rng(8).normal(size=(200, 3)) * 10
    values[::3, 1] = np.nan
    engine = load_engine(opened(path))
    wanted = library_margins(booster, values)
    for size in (1, 2, 63, 64, 65, 128, 200):
        assert same_bits(engine.predict(values[:size]), wanted[:size])
    assert engine.predict(values[:0]).shape == (0, 3)


def test_serving_imports_none_of_the_trainers_libraries(tmp_path: Path) -> None:
    path = sealed_bundle(tmp_path)
    script = (
        "import sys; from pathlib import Path\n"
        "from scoreline.core.bundle import read_bundle; from scoreline.engines.load import load_engine\n"
        "from scoreline.signing import TrustStore\n"
        "load_engine(read_bundle(Path(sys.argv[1]), TrustStore.from_files([Path(sys.argv[2])])))\n"
        "heavy = {'xgboost', 'onnx', 'pandas', 'sklearn', 'scipy', 'pyarrow', 'model_signing'}\n"
        "print(*sorted(heavy & set(sys.modules)))\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script, str(path), str(tmp_path / "signing.pub")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout.strip()) == (0, ""), found.stderr
    assert importlib.util.find_spec("xgboost")


@pytest.mark.parametrize("kind", ["XGBClassifier", "LGBMClassifier"])
def test_graph_before_a_booster_is_held_to_its_golden_margins_too(tmp_path: Path, kind: str) -> None:
    model, rows = small_pipeline(kind)
    path = seal(
        model, name="m", output="p", reference=rows, schema=RANGES, key=keys(tmp_path)[0], out=tmp_path / "m-1"
    ).path
    assert " behind onnxruntime " in load_engine(opened(path)).name
    whole = (path / "prepare.onnx").read_bytes()
    other = read_sklearn(small_pipeline(kind, seed=3)[0]).prepare or b""
    for raw in (b"", whole[: len(whole) // 2], other, (path / "golden.json").read_bytes()):
        replace_file(path, "prepare.onnx", raw)
        with pytest.raises(BundleError):
            load_engine(opened(path))
    replace_file(path, "prepare.onnx", whole)
    load_engine(opened(path))


def test_signing_again_without_a_change_still_loads(tmp_path: Path) -> None:
    """The helper these tests rest on: what refuses above is the change, not the signature."""
    path = sealed_bundle(tmp_path)
    sign_again(path)
    edit(path, "golden.json", lambda found: None)
    load_engine(opened(path))
