"""When the headers that wait become batches. Pure.

A batch is full, or has waited long enough. The microgrid's row of headers is cut where it is: a correction's header
stands where it was made, and is in the batch of its neighbours.
"""

from dataclasses import dataclass

from contracts.batch import GENESIS_BATCH, MAX_WINDOWS, Batch

MINUTE_S = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchPolicy:
    """When headers become a batch.

    Attributes
    ----------
    windows : most headers of a batch, 1 to ``MAX_WINDOWS``
    minutes : how long a header waits for others at most; 0 for not at all
    """

    windows: int = 96
    minutes: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.windows <= MAX_WINDOWS:
            raise ValueError(f"windows: got {self.windows}, wanted 1 to {MAX_WINDOWS}")
        if self.minutes < 0:
            raise ValueError(f"minutes: got {self.minutes}, wanted 0 or more")

    def sizes(self, waiting: int, *, waited_s: float) -> tuple[int, ...]:
        """How many headers each batch takes that is due now.

        Parameters
        ----------
        waiting : headers that are in no batch yet
        waited_s : how long the oldest of them has waited
        """
        full, rest = divmod(waiting, self.windows)
        late = rest and waited_s >= self.minutes * MINUTE_S
        return (self.windows,) * full + ((rest,) if late else ())


def following(
    microgrid: str, last: Batch | None, headers: tuple[bytes, ...], sizes: tuple[int, ...]
) -> tuple[Batch, ...]:
    """The batches that take the next headers.

    Parameters
    ----------
    microgrid : resource name
    last : batch so far; None before the first
    headers : hashes of those that are in no batch yet, in their order
    sizes : how many each batch takes
    """
    made: list[Batch] = []
    taken = 0
    for size in sizes:
        last = Batch(
            microgrid=microgrid,
            number=0 if last is None else last.number + 1,
            previous=GENESIS_BATCH if last is None else last.hash,
            first=0 if last is None else last.first + len(last.headers),
            headers=headers[taken : taken + size],
        )
        taken += size
        made.append(last)
    return tuple(made)
