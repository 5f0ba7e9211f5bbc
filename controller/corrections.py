"""What a correction of a window posts: nothing is changed in the ledger, postings are taken back and others entered.

A window is settled anew from all that is known now. What the ledger has and the new settlement lacks is taken back, one
posting for one, by a posting of the same account and kind that names it and negates it; what the ledger lacks is
entered. All runs of a window together are then what one settlement from the truth would have posted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from contracts.runs import reversal, reversed_index
from controller.ledger import Posting


def standing(ledger: Mapping[int, Posting]) -> dict[int, Posting]:
    """The postings of a window, by index, that are no reversals and were not taken back."""
    back = {found for posting in ledger.values() if (found := reversed_index(posting.reference)) is not None}
    return {
        index: posting
        for index, posting in sorted(ledger.items())
        if index not in back and reversed_index(posting.reference) is None
    }


def correct(ledger: Mapping[int, Posting], settled: Iterable[Posting]) -> tuple[Posting, ...]:
    """What has to be posted so that the ledger of a window comes to a settlement; nothing where it does already.

    Parameters
    ----------
    ledger : all that was posted for the window, by index
    settled : what its settlement posts from what is known now; sums to zero

    Returns
    -------
    tuple of Posting
        First what is taken back, in order of the indices, then what is new; sums to zero where the ledger does.
    """
    wanted = Counter(settled)
    back: list[Posting] = []
    for index, posting in standing(ledger).items():
        if wanted[posting]:
            wanted[posting] -= 1
        else:
            back.append(
                Posting(
                    account=posting.account,
                    kind=posting.kind,
                    reference=reversal(index),
                    amount_micro=-posting.amount_micro,
                )
            )
    return (*back, *_in_order(settled, wanted))


def _in_order(settled: Iterable[Posting], left: Counter[Posting]) -> Sequence[Posting]:
    """Of postings those that are left, in their order; of equal ones the last."""
    found = []
    for posting in reversed([*settled]):
        if left[posting]:
            left[posting] -= 1
            found.append(posting)
    return found[::-1]
