"""How kernels share work: in fixed chunks, so that the number of threads changes no bit, and not where it is small."""

CHUNKS = 64
"""Chunks of work that threads share."""

SMALL = 200_000
"""Operations below which threads cost more than they save."""
