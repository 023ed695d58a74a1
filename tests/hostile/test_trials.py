"""Model files that are malformed and signed all the same: the process that tries them may end, nothing else does."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import psutil
import pytest
from onnx import TensorProto, helper

from lightgbm_models import small_lightgbm
from models import edit, opened, rewrite, sealed_bundle
from scoreline.core.bundle import read_bundle
from scoreline.core.errors import BundleError
from scoreline.core.manifest import MANIFEST
from scoreline.core.ports import Verifier
from scoreline.operations.trial import try_out
from scoreline.sealing import seal
from scoreline.signing import TrustStore, generate_keys

SCORES = """
import sys
from pathlib import Path
from models import opened
from scoreline.engines.load import load_engine
from scoreline.operations.trial import random_rows
bundle = opened(Path(sys.argv[1]))
engine = load_engine(bundle)
rows = random_rows(bundle.manifest.schema, 3000, 7)
engine.predict(rows)
for row in range(len(rows)):
    engine.predict(rows[row : row + 1])
print("alive")
"""
MUTATIONS = 10  # of each kind of model, every one several bytes at a time


@pytest.fixture(scope="module")
def sealed_twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sealed_bundle(tmp_path_factory.mktemp("twin"))


@pytest.fixture(scope="module")
def sealed_lightgbm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lightgbm")
    booster, rows = small_lightgbm()
    generate_keys(folder / "signing.key", folder / "signing.pub")
    return seal(booster, name="m", output="score", reference=rows, key=folder / "signing.key", out=folder / "m-1").path


def copy(path: Path, tmp_path: Path) -> Path:
    for key in path.parent.glob("signing.*"):
        shutil.copy(key, tmp_path)
    return shutil.copytree(path, tmp_path / "m-1")


def alone(path: Path, kind: str) -> None:
    """Leaves one engine in the manifest, so that no other one hides what it does."""
    edit(path, MANIFEST, lambda found: found.update(engines=[e for e in found["engines"] if e["kind"] == kind]))


def tried(path: Path, **limits: int) -> str:
    """What the trial says of a bundle that is signed; empty where it takes it."""
    try:
        try_out(path, opened(path).manifest.digest, **limits)
    except BundleError as error:
        return str(error)
    return ""


def assert_clear(said: str) -> None:
    """Taken, because the self-test holds; or refused in one line without a trace or a path."""
    assert "Traceback" not in said and ".py" not in said and "/tmp" not in said
    assert said == "" or re.fullmatch(r"bundles/[0-9a-f]{64}: [^\n]+", said), said


def assert_clear_and_survived(path: Path) -> None:
    """What is taken scores whatever rows the schema lets in, in a process that lives on."""
    said = tried(path)
    assert_clear(said)
    if not said:
        command, paths = [sys.executable, "-c", SCORES, str(path)], {"PYTHONPATH": os.pathsep.join(sys.path)}
        ended = subprocess.run(command, env={**os.environ, **paths}, check=False, capture_output=True, timeout=60)
        assert (ended.returncode, ended.stdout) == (0, b"alive\n"), ended.stderr[-500:]


def mutated(raw: bytes, seed: int) -> bytes:
    """Bytes flipped, a piece cut out, doubled, zeroed, or a count made huge, by turns."""
    rng = np.random.default_rng(seed)
    found = bytearray(raw)
    at, length = int(rng.integers(0, len(raw))), int(rng.integers(1, 64))
    if seed % 5 == 0:
        for place in rng.integers(0, len(raw), 16):
            found[place] ^= int(rng.integers(1, 256))
    elif seed % 5 == 1:
        del found[at : at + length]
    elif seed % 5 == 2:
        found[at:at] = raw[at : at + length]
    elif seed % 5 == 3:
        found[at : at + length] = bytes(length)
    else:
        found[at : at + 4] = b"\x7f\xff\xff\xff"
    return bytes(found)


@pytest.mark.parametrize("seed", range(MUTATIONS))
@pytest.mark.parametrize("kind", ("xgboost", "onnx"))
def test_a_mutated_model_of_a_twin(sealed_twin: Path, tmp_path: Path, kind: str, seed: int) -> None:
    path = copy(sealed_twin, tmp_path)
    alone(path, kind)
    rewrite(path, {"xgboost": "model.ubj", "onnx": "model.onnx"}[kind], lambda raw: mutated(raw, seed))
    assert_clear_and_survived(path)


@pytest.mark.parametrize("seed", range(MUTATIONS))
def test_a_mutated_lightgbm_model(sealed_lightgbm: Path, tmp_path: Path, seed: int) -> None:
    path = copy(sealed_lightgbm, tmp_path)
    rewrite(path, "model.txt", lambda raw: mutated(raw, seed))
    assert_clear_and_survived(path)


def resized(change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A change of the first tree of a LightGBM text, whose told size fits again."""

    def changed(raw: bytes) -> bytes:
        head, _, rest = raw.partition(b"\nTree=0\n")
        size = int(re.search(rb"tree_sizes=(\d+)", head)[1])  # type: ignore[index]
        tree, rest = rest[: size - 7], rest[size - 7 :]
        found = change(tree)
        head = head.replace(b"tree_sizes=%d" % size, b"tree_sizes=%d" % (len(found) + 7))
        return head + b"\nTree=0\n" + found + rest

    return changed


@pytest.mark.parametrize(
    "change",
    [
        lambda tree: re.sub(rb"num_leaves=\d+", b"num_leaves=2000000000", tree),
        lambda tree: re.sub(rb"num_leaves=\d+", b"num_leaves=-1", tree),
        lambda tree: re.sub(rb"left_child=\S+", b"left_child=100000000", tree),
        lambda tree: re.sub(rb"left_child=-?\d+", b"left_child=0", tree),
        lambda tree: re.sub(rb"split_feature=\d+", b"split_feature=100000000", tree),
        lambda tree: re.sub(rb"leaf_value=\S+", b"leaf_value=nan", tree),
        lambda tree: re.sub(rb"num_cat=0", b"num_cat=1000000", tree),
    ],
    ids=("huge leaves", "negative leaves", "a far child", "a circle", "a far feature", "nan", "categories"),
)
def test_a_lightgbm_tree_that_leads_astray(
    sealed_lightgbm: Path, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    path = copy(sealed_lightgbm, tmp_path)
    rewrite(path, "model.txt", resized(change))
    said = tried(path, cpu_s=5)
    assert said
    assert_clear(said)


def graph_that(nodes: list[Any], initializers: list[Any]) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, None])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def number(name: str, *values: int, kind: int = TensorProto.INT64, scalar: bool = False) -> Any:
    return helper.make_tensor(name, kind, [] if scalar else [len(values)], values)


def loop(trips: int, body_nodes: list[Any], initializers: list[Any], begin: list[Any]) -> bytes:
    """A graph that repeats `body_nodes` from `state` to `next`."""
    body = helper.make_graph(
        [*body_nodes, helper.make_node("Identity", ["go"], ["go_on"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
        ],
    )
    nodes = [*begin, helper.make_node("Loop", ["trips", "yes", "first"], ["y"], body=body)]
    known = [number("trips", trips, scalar=True), number("yes", 1, kind=TensorProto.BOOL, scalar=True)]
    return graph_that(nodes, [*known, *initializers])


TERABYTE = graph_that([helper.make_node("ConstantOfShape", ["shape"], ["y"])], [number("shape", 1 << 20, 1 << 18)])
ENDLESS = loop(
    1 << 62, [helper.make_node("Sin", ["state"], ["next"])], [], [helper.make_node("ReduceSum", ["x"], ["first"])]
)
DOUBLING = loop(
    60,
    [helper.make_node("Concat", ["state", "state"], ["next"], axis=0)],
    [],
    [helper.make_node("Identity", ["x"], ["first"])],
)
OUTSIDE = graph_that(
    [helper.make_node("Identity", ["w"], ["y"])],
    [
        TensorProto(
            name="w",
            data_type=TensorProto.FLOAT,
            dims=[1, 1],
            data_location=TensorProto.EXTERNAL,
            external_data=[onnx.StringStringEntryProto(key="location", value="/etc/passwd")],
        )
    ],
)


@pytest.mark.parametrize(
    "graph",
    (TERABYTE, ENDLESS, DOUBLING, OUTSIDE, b"", b"\x08"),
    ids=("a terabyte", "endless work", "memory doubled and doubled", "weights elsewhere", "empty", "cut"),
)
def test_an_onnx_graph_that_is_a_bomb(sealed_twin: Path, tmp_path: Path, graph: bytes) -> None:
    path = copy(sealed_twin, tmp_path)
    alone(path, "onnx")
    rewrite(path, "model.onnx", lambda raw: graph)
    start_s, free = time.monotonic(), psutil.virtual_memory().available
    said = tried(path, cpu_s=3, least_bytes=1 << 30)
    assert said
    assert_clear(said)
    assert time.monotonic() - start_s < 60
    assert psutil.virtual_memory().available > free - (2 << 30)


def test_a_file_swapped_after_verification_is_not_what_is_tried(sealed_twin: Path, tmp_path: Path) -> None:
    """The trial takes only the manifest that was verified, and its files only by the digests in it."""
    path = copy(sealed_twin, tmp_path)
    digest = opened(path).manifest.digest
    with (path / "model.ubj").open("r+b") as file:
        file.write(b"{i")
    with pytest.raises(BundleError, match="the files are not those its manifest lists"):
        try_out(path, digest)


def test_a_file_swapped_while_it_is_verified_is_not_what_is_loaded(sealed_twin: Path, tmp_path: Path) -> None:
    """What was hashed is what is loaded: the files are swapped between the one and the other."""
    path = copy(sealed_twin, tmp_path)
    store: Verifier = TrustStore.from_files([tmp_path / "signing.pub"])

    class Swaps:
        def verify(self, signature: bytes, digests: dict[str, str]) -> str:
            for file in path.iterdir():
                file.write_bytes(b"swapped")
            return store.verify(signature, digests)

    found = read_bundle(path, Swaps())
    assert dict(found.files) == {name: (sealed_twin / name).read_bytes() for name in found.files}
