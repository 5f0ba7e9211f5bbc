"""Windows that were corrected: each run under a header of its own."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contracts.batch import GENESIS_BATCH, Batch
from contracts.batch_evidence import SignedBatch
from contracts.books import WindowBooks
from contracts.checks import check_books, check_complete, check_headers, check_leaves, check_proofs
from contracts.errors import EvidenceError
from contracts.evidence import Evidence, export_directory, read_directory
from contracts.header import WindowHeader
from contracts.leaves import PostingLeaf, ReadingLeaf, TradeLeaf
from contracts.proof_file import prove
from contracts.runs import reversal, reversed_index, run_of, runs_by_window

CHECKS = (check_books, check_complete)


def correction(books: WindowBooks, *, first: int, amounts: tuple[tuple[str, str, int], ...]) -> WindowBooks:
    """A run that seals one register anew, and posts these accounts, references and amounts."""
    window = books.readings[0].window
    return WindowBooks(
        trades=(),
        readings=(replace(books.readings[0], index=3, import_wh=77, salt=bytes([first]) * 32),),
        postings=tuple(
            PostingLeaf(
                window=window,
                index=first + k,
                account=account,
                kind="energy",
                reference=reference,
                amount_micro=amount,
                salt=bytes([first + k]) * 32,
            )
            for k, (account, reference, amount) in enumerate(amounts)
        ),
    )


FIRST = (
    ("anna", "reverses 0", -22_500),
    ("bert", "reverses 1", 22_500),
    ("anna", "trade 0", 9),
    ("bert", "trade 0", -9),
)


class Books:
    """Three windows and corrections of them, as a directory."""

    def __init__(self, settled: Any, directory: Path) -> None:
        self.settled = settled
        self.directory = directory
        self.runs = [(header, books) for header, books in zip(settled.headers, settled.books, strict=True)]

    def correct(self, number: int, books: WindowBooks, *, run: int = 1, **changes: int) -> WindowHeader:
        """Append the header of a correction of a window."""
        of = self.settled.headers[number]
        values = {"window_start": of.window_start, "window_end": of.window_end} | changes
        header = books.header(
            microgrid=of.microgrid,
            window=of.window,
            run=run,
            previous=self.runs[-1][0].hash,
            inputs_digest=of.inputs_digest,
            **values,
        )
        self.runs.append((header, books))
        return header

    def evidence(self) -> Evidence:
        """What is read back from the directory."""
        headers = [header for header, _ in self.runs]
        batch = Batch(
            microgrid=headers[0].microgrid,
            number=0,
            previous=GENESIS_BATCH,
            first=0,
            headers=tuple(header.hash for header in headers),
        )
        export_directory(
            self.directory,
            headers=headers,
            batches=[SignedBatch(batch=batch, signatures={})],
            trades=[leaf for _, books in self.runs for leaf in books.trades],
            readings=[leaf for _, books in self.runs for leaf in books.readings],
            postings=[leaf for _, books in self.runs for leaf in books.postings],
            chain=self.settled.chain,
        )
        return read_directory(self.directory)


@pytest.fixture
def books(settled: Any, tmp_path: Path) -> Books:
    """Three windows that were settled once."""
    return Books(settled, tmp_path / "evidence")


def failures(evidence: Evidence) -> list[str]:
    """What all checks of records and headers say."""
    records = evidence.records()
    checks = [check_leaves(records), check_proofs(records, evidence.headers), check_headers(evidence.headers)]
    checks += [check(evidence) for check in CHECKS]
    return [failure for check in checks for failure in check.failures]


def test_corrections_of_a_window_stand_beside_its_first_settlement(books: Books) -> None:
    books.correct(0, correction(books.settled.books[0], first=4, amounts=FIRST))
    again = correction(books.settled.books[0], first=8, amounts=(("anna", "reverses 6", -9), ("bert", "reverses 7", 9)))
    again = replace(again, readings=(replace(again.readings[0], index=4),))
    books.correct(0, again, run=2)
    evidence = books.evidence()
    assert failures(evidence) == []
    runs = runs_by_window(stated.header for stated in evidence.headers)[books.settled.headers[0].window]
    assert [run.span(PostingLeaf) for run in runs] == [range(4), range(4, 8), range(8, 10)]
    assert [run.span(ReadingLeaf) for run in runs] == [range(3), range(3, 4), range(4, 5)]
    assert [run.span(TradeLeaf) for run in runs] == [range(3), range(3, 3), range(3, 3)]


def test_a_record_is_proven_by_the_header_of_its_run(books: Books) -> None:
    header = books.correct(0, correction(books.settled.books[0], first=4, amounts=FIRST))
    evidence = books.evidence()
    registry = books.settled.deployment.registry
    for index, first in ((0, books.settled.headers[0]), (6, header)):
        proof = prove(evidence, registry, PostingLeaf, window=header.window, index=index)
        assert proof.headers[0].header == first
        assert check_proofs([proof.stated], proof.headers[:1]).failures == ()
    run = run_of(runs_by_window(stated.header for stated in evidence.headers)[header.window], proof.stated.record)
    assert run is not None
    assert run.header == header


@pytest.mark.parametrize(
    ("amounts", "expected"),
    [
        ((("anna", "reverses 0", -22_501), ("bert", "x", 22_501)), "posting 4 reverses posting 0: got"),
        ((("bert", "reverses 0", -22_500), ("bert", "x", 22_500)), "posting 4 reverses posting 0: got"),
        ((("anna", "reverses 4", 1), ("bert", "x", -1)), "posting 4 reverses posting 4: wanted one of an earlier run"),
        ((("anna", "reverses 9", 1), ("bert", "x", -1)), "posting 4 reverses posting 9: wanted one of an earlier run"),
        (
            (("anna", "reverses 0", -22_500), ("anna", "reverses 0", -22_500), ("bert", "x", 45_000)),
            "posting 5 reverses posting 0: posting 4 has done so",
        ),
        ((("anna", "x", 5),), "postings sum to 5 micro-currency, wanted 0"),
    ],
)
def test_a_reversal_that_does_not_negate_what_it_names_is_named(
    books: Books, amounts: tuple[tuple[str, str, int], ...], expected: str
) -> None:
    books.correct(0, correction(books.settled.books[0], first=4, amounts=amounts))
    found = failures(books.evidence())
    assert any(expected in failure for failure in found)
    assert all("run 1" in failure for failure in found)


def test_what_was_taken_back_is_not_taken_back_again_nor_is_a_reversal(books: Books) -> None:
    books.correct(0, correction(books.settled.books[0], first=4, amounts=FIRST))
    again = correction(
        books.settled.books[0], first=8, amounts=(("anna", "reverses 0", -22_500), ("anna", "reverses 4", 22_500))
    )
    books.correct(0, replace(again, readings=(replace(again.readings[0], index=4),)), run=2)
    found = failures(books.evidence())
    assert len(found) == 2
    assert "posting 8 reverses posting 0: posting 4 has done so" in found[0]
    assert "posting 9 reverses posting 4: that is a reversal itself" in found[1]


@pytest.mark.parametrize(
    ("run", "changes", "expected"),
    [
        (2, {}, "run: got 2, wanted 1"),
        (0, {}, "the window has a header before of run 0"),
        (1, {"window_start": 1476849601}, "wanted 1476849600 to 1476850500 as in run 0"),
    ],
)
def test_a_run_out_of_turn_is_named(books: Books, run: int, changes: dict[str, int], expected: str) -> None:
    books.correct(0, correction(books.settled.books[0], first=4, amounts=FIRST), run=run, **changes)
    if run == 0:
        with pytest.raises(EvidenceError, match="one header for each run"):
            books.evidence()
        return
    assert any(expected in failure for failure in failures(books.evidence()))


def test_a_correction_of_a_window_that_was_never_settled_is_named(books: Books) -> None:
    del books.runs[0]
    evidence = books.evidence()
    assert failures(evidence) == []  # the first header that is there may have others before it
    books.runs.insert(0, (replace(books.settled.headers[0], run=1), books.settled.books[0]))
    assert any("run: got 1, wanted 0" in failure for failure in failures(books.evidence()))


def test_a_record_that_no_run_counts_is_named(books: Books, lines: Callable[[str], Any], directory: Path) -> None:
    file = lines("postings.jsonl")
    file.write([*file.read(), {**file.read()[0], "index": 4}])
    assert any("the header counts only 4" in failure for failure in failures(read_directory(directory)))


@pytest.mark.parametrize("reference", ["", "reverses", "reverses 01", "reverses -1", "reverses 1 ", "Reverses 1"])
def test_other_references_reverse_nothing(reference: str) -> None:
    assert reversed_index(reference) is None


def test_a_reference_is_read_as_it_was_written() -> None:
    assert [reversed_index(reversal(index)) for index in (0, 7, 10**17)] == [0, 7, 10**17]
