"""A header recomputed from the records that lie under it, as a validator does before it signs."""

import json
from collections import defaultdict

from contracts.books import WindowBooks
from contracts.header import WindowHeader
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from controller.ledger import COMMUNITY_ACCOUNT
from gridpact.v1 import validator_pb2


def header_of(answer: validator_pb2.GetWindowRecordsResponse) -> WindowHeader:
    """The header that the records give; only what records cannot say is taken from the stated one.

    Raises
    ------
    ValueError
        If postings do not sum to zero, or uplifts were posted that are not those of the clearing.
    """
    stated = answer.header
    records = WindowBooks(
        trades=tuple(TradeLeaf.from_json(json.loads(text)) for text in answer.trades_json),
        readings=tuple(ReadingLeaf.from_json(json.loads(text)) for text in answer.readings_json),
        postings=tuple(PostingLeaf.from_json(json.loads(text)) for text in answer.postings_json),
    )
    total = sum(posting.amount_micro for posting in records.postings)
    if total:
        raise ValueError(f"{stated.window}: postings sum to {total}, wanted 0")
    committed = {uplift.member: uplift.uplift_micro for uplift in answer.uplifts if uplift.uplift_micro}
    posted: dict[str, int] = defaultdict(int)
    for posting in records.postings:
        if posting.kind == "UPLIFT" and posting.account != COMMUNITY_ACCOUNT:
            posted[posting.account] += posting.amount_micro
    if posted != committed:
        raise ValueError(f"{stated.window}: uplifts of {dict(posted)} were posted, wanted {committed}")
    return records.header(
        microgrid=stated.microgrid,
        window=stated.window,
        window_start=stated.window_start,
        window_end=stated.window_end,
        run=stated.run,
        previous=stated.previous,
        inputs_digest=stated.inputs_digest,
    )
