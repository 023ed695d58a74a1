"""The growing tree has the roots of RFC 9162 (section 2.1.1), whatever the steps it grew by."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from scoreline.records.merkle import Tree


def root_of(leaves: list[bytes]) -> bytes:
    """The definition, word for word."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + root_of(leaves[:split]) + root_of(leaves[split:])).digest()


leaves = st.lists(st.binary(min_size=32, max_size=32), max_size=70)


@given(leaves, st.integers(0, 70))
def test_a_tree_that_grows_in_two_processes_has_the_root_of_the_whole(found: list[bytes], at: int) -> None:
    first = Tree()
    first.extend(found[:at])
    second = Tree(first.size, first.state)
    second.extend(found[at:])
    assert (second.size, second.root) == (len(found), root_of(found))
    assert len(second.state) == 32 * len(found).bit_count()


@given(leaves.filter(bool), st.data())
def test_any_leaf_changed_moved_or_left_out_changes_the_root(found: list[bytes], data: st.DataObject) -> None:
    tree, other = Tree(), Tree()
    tree.extend(found)
    place = data.draw(st.integers(0, len(found) - 1))
    flipped = bytes([found[place][0] ^ 1]) + found[place][1:]
    other.extend([*found[:place], *data.draw(st.sampled_from(([flipped], []))), *found[place + 1 :]])
    assert other.root != tree.root
