"""A validator recomputes a window's header, and sees to it that uplifts are those of the clearing."""

import json

import pytest

from contracts.books import WindowBooks
from contracts.leaves import PostingLeaf
from controller.demo.recompute import header_of
from controller.services.proofs import header_message
from gridpact.v1 import dispatch_pb2, validator_pb2

WINDOW = "microgrids/village/windows/20261019T040000Z"


def posting(index: int, account: str, amount: int) -> PostingLeaf:
    return PostingLeaf(
        window=WINDOW,
        index=index,
        account=account,
        kind="UPLIFT",
        reference="uplift",
        amount_micro=amount,
        salt=bytes(32),
    )


POSTINGS = (
    posting(0, "ada", -5),
    posting(1, "community", 5),
    posting(2, "community", -5),
    posting(3, "bob", 5),
)


def answer(uplifts: dict[str, int], postings: tuple[PostingLeaf, ...] = POSTINGS):
    books = WindowBooks(trades=(), readings=(), postings=postings)
    header = books.header(
        microgrid="microgrids/village",
        window=WINDOW,
        window_start=0,
        window_end=900,
        run=0,
        previous=bytes(32),
        inputs_digest=bytes(32),
    )
    return header, validator_pb2.GetWindowRecordsResponse(
        header=header_message(header),
        postings_json=[json.dumps(leaf.to_json()) for leaf in postings],
        uplifts=[dispatch_pb2.Uplift(member=member, uplift_micro=amount) for member, amount in uplifts.items()],
    )


def test_uplifts_that_were_posted_as_the_clearing_said_give_the_header():
    header, message = answer({"ada": -5, "bob": 5, "eve": 0})
    assert header_of(message) == header


def test_a_window_without_uplifts_has_no_postings_of_them():
    header, message = answer({}, postings=())
    assert header_of(message) == header


@pytest.mark.parametrize("uplifts", [{}, {"ada": -5, "bob": 4}, {"ada": -5, "bob": 5, "eve": 1}])
def test_other_uplifts_than_those_of_the_clearing_are_refused(uplifts):
    with pytest.raises(ValueError, match=r"uplifts of .* were posted"):
        header_of(answer(uplifts)[1])
