from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.hashing import ZERO_HASH, hash_values_twice, keccak, to_hex
from contracts.leaves import TradeLeaf
from contracts.merkle import MerkleError, MerkleTree, verify_proof

FOLDER = Path(__file__).parents[1] / "vectors"
VECTORS = json.loads((FOLDER / "contracts-merkle.json").read_text())["trees"]
ROOTS = json.loads((FOLDER / "contracts-merkle-roots.json").read_text())["roots"]
HASHES = st.binary(min_size=32, max_size=32)


def vector_trade(index: int) -> TradeLeaf:
    return TradeLeaf(
        window="microgrids/rural1/windows/20161019T040000Z",
        index=index,
        seller=f"peer-{index}",
        buyer="grid",
        mtu_start=1476849600,
        energy_wh=1000 * index,
        price_micro_per_kwh=-index,
        salt=(index + 1).to_bytes(32),
    )


def slow_root(hashes: list[bytes]) -> bytes:
    """The root as a recursion over the definition of the heap, without an array."""
    ascending = sorted(hashes)

    def node(place: int) -> bytes:
        if place >= len(ascending) - 1:
            return ascending[2 * len(ascending) - 2 - place]
        return keccak(b"".join(sorted((node(2 * place + 1), node(2 * place + 2)))))

    return node(0)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: str(vector["size"]))
def test_trees_are_those_of_openzeppelin(vector: dict[str, list[object]]) -> None:
    leaves = [vector_trade(index).hash for index in range(len(vector["leaves"]))]
    tree = MerkleTree(leaves)
    assert [to_hex(leaf) for leaf in leaves] == vector["leaves"]
    assert to_hex(tree.root) == vector["root"]
    proofs = [[to_hex(sibling) for sibling in tree.proof(index)] for index in range(len(leaves))]
    assert proofs == vector["proofs"]


def check_roots(sizes: range) -> None:
    leaves = [hash_values_twice(("uint64",), (number,)) for number in range(len(ROOTS))]
    for size in sizes:
        assert to_hex(MerkleTree(leaves[:size]).root) == ROOTS[size - 1], size


@pytest.mark.parametrize("sizes", [range(1, 70), range(998, 1001)], ids=str)
def test_roots_are_those_of_openzeppelin(sizes: range) -> None:
    assert len(ROOTS) == 1000
    check_roots(sizes)


@pytest.mark.campaign
def test_roots_of_one_to_a_thousand_leaves_are_those_of_openzeppelin() -> None:
    check_roots(range(1, 1001))


@given(st.lists(HASHES, min_size=1, max_size=40, unique=True))
def test_root_is_that_of_the_slow_twin_and_every_proof_leads_to_it(hashes: list[bytes]) -> None:
    tree = MerkleTree(hashes)
    assert tree.root == slow_root(hashes)
    assert all(verify_proof(leaf, tree.proof(index), tree.root) for index, leaf in enumerate(hashes))


@given(st.lists(HASHES, min_size=2, max_size=20, unique=True), st.data())
def test_a_proof_holds_for_no_other_leaf(hashes: list[bytes], data: st.DataObject) -> None:
    tree = MerkleTree(hashes)
    index, other = data.draw(st.permutations(range(len(hashes))))[:2]
    assert not verify_proof(hashes[other], tree.proof(index), tree.root)
    assert not verify_proof(keccak(hashes[index]), tree.proof(index), tree.root)


@given(st.lists(HASHES, min_size=1, max_size=20, unique=True), st.randoms())
def test_order_of_leaves_does_not_matter(hashes: list[bytes], random: object) -> None:
    shuffled = hashes.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert MerkleTree(shuffled).root == MerkleTree(hashes).root


def test_an_empty_tree_has_the_zero_root() -> None:
    assert MerkleTree([]).root == ZERO_HASH


def test_repeated_leaves_are_refused() -> None:
    with pytest.raises(MerkleError, match="1 repeated leaves of 3"):
        MerkleTree([b"a" * 32, b"b" * 32, b"a" * 32])


def test_leaves_of_another_length_are_refused() -> None:
    with pytest.raises(MerkleError, match="leaf 1: got 64 bytes"):
        MerkleTree([b"a" * 32, b"b" * 64])
