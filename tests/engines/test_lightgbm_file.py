"""A model text of LightGBM points to what it holds, in nodes that no row visits too; or it is refused."""

import re
from collections.abc import Callable

import pytest

from lightgbm_models import small_lightgbm
from scoreline.engines.lightgbm_file import is_sound_text
from scoreline.sealing.lightgbm import read_lightgbm

N_FIELDS = 4
Change = Callable[[str], str]


def rewritten(change: Change, **parameters: object) -> bytes:
    """A model with categories whose last tree, or one that has a pattern, is changed; told sizes fit again."""
    raw = read_lightgbm(small_lightgbm(categories=True, **parameters)[0]).raw.decode()
    head, _, rest = raw.partition("\nTree=0\n")
    trees, _, tail = ("Tree=0\n" + rest).partition("end of trees")
    pieces = re.findall(r"Tree=\d+\n.*?\n\n\n", trees, re.DOTALL)
    assert "".join(pieces) == trees
    number = next(at for at in reversed(range(len(pieces))) if "num_cat=0" not in pieces[at])
    pieces[number] = change(pieces[number])
    sizes = " ".join(str(len(piece)) for piece in pieces)
    head = re.sub(r"tree_sizes=.*", f"tree_sizes={sizes}", head)
    return f"{head}\n{''.join(pieces)}end of trees{tail}".encode()


def put(name: str, place: int, value: object) -> Change:
    def change(tree: str) -> str:
        line = re.search(rf"^{name}=(.*)$", tree, re.MULTILINE)
        assert line is not None
        values = line[1].split(" ")
        values[place] = str(value)
        return tree.replace(line[0], f"{name}={' '.join(values)}")

    return change


def sub(pattern: str, by: str) -> Change:
    return lambda tree: re.sub(pattern, by, tree, count=1, flags=re.MULTILINE)


ASTRAY: dict[str, Change] = {
    "a feature that is none": put("split_feature", -1, N_FIELDS),
    "a negative feature": put("split_feature", -1, -1),
    "a far left child": put("left_child", -1, 99),
    "a far right child": put("right_child", -1, 99),
    "a far leaf": put("left_child", -1, -99),
    "a circle": put("left_child", -1, 0),
    "a node with two parents": lambda tree: put("right_child", 0, 1)(put("left_child", 0, 1)(tree)),
    "more leaves": sub(r"^num_leaves=\d+", "num_leaves=99"),
    "no leaves": sub(r"^num_leaves=\d+", "num_leaves=0"),
    "a huge number": put("left_child", -1, 1 << 70),
    "a number with a point": put("left_child", -1, "1.5"),
    "few children": sub(r"^left_child=\S+ ", "left_child="),
    "no features": sub(r"^split_feature=.*\n", ""),
    "no kinds": sub(r"^decision_type=.*\n", ""),
    "a piece of bits that is none": sub(r"^(threshold=.*)$", "threshold=99 99 99 99 99 99"),
    "fewer pieces": sub(r"^num_cat=\d+", "num_cat=0"),
    "bits beyond the list": put("cat_boundaries", -1, 1 << 20),
    "bits before the list": put("cat_boundaries", 0, -1),
    "few bits": sub(r"^cat_threshold=.*", "cat_threshold="),
    "a name twice": sub(r"^(left_child=.*)$", r"\1\n\1"),
    "a line that ends otherwise": sub(r"^(left_child=.*)$", "left_child=0\r\\1"),
    "an empty line": sub(r"^left_child", "\nleft_child"),
    "a line without a name": sub(r"^left_child", "=left_child"),
    "lines that are not read": sub(r"^left_child", "\n".join(f"more{n}=1" for n in range(9)) + "\nleft_child"),
}


@pytest.mark.parametrize("change", ASTRAY.values(), ids=ASTRAY.keys())
def test_what_points_beyond_the_model_is_not_sound(change: Change) -> None:
    assert is_sound_text(rewritten(lambda tree: tree), N_FIELDS, 1)
    assert not is_sound_text(rewritten(change), N_FIELDS, 1)


@pytest.mark.parametrize(
    "change",
    [
        put("num_features", -1, 99),
        put("num_features", -1, -1),
        put("leaf_features", 0, 99),
        sub(r"^leaf_features=.*\n", ""),
        sub(r"^leaf_coeff=.*\n", ""),
    ],
    ids=("counts", "a negative count", "a field", "no fields", "no weights"),
)
def test_a_linear_tree_weighs_fields_that_are_there(change: Change) -> None:
    assert is_sound_text(rewritten(lambda tree: tree, linear_tree=True), N_FIELDS, 1)
    assert not is_sound_text(rewritten(change, linear_tree=True), N_FIELDS, 1)


@pytest.mark.parametrize(("n_fields", "n_outputs"), [(3, 1), (5, 1), (4, 2)])
def test_a_model_of_other_sizes_is_not_sound(n_fields: int, n_outputs: int) -> None:
    assert not is_sound_text(rewritten(lambda tree: tree), n_fields, n_outputs)


def test_more_trees_per_row_than_margins_are_not_sound() -> None:
    raw = rewritten(lambda tree: tree)
    assert not is_sound_text(raw.replace(b"num_tree_per_iteration=1", b"num_tree_per_iteration=9"), N_FIELDS, 1)
