"""Which fields a change is about (AIP-134)."""

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from controller.refusals import invalid


def read_mask(mask: FieldMask, known: Sequence[str]) -> frozenset[str]:
    """The paths of a mask that has to name at least one of those that may change, and none else."""
    wanted = f"some of {', '.join(known)}"
    if not mask.paths:
        raise invalid("update_mask", got="no path", wanted=wanted)
    for path in mask.paths:
        if path not in known:
            raise invalid("update_mask", got=path, wanted=wanted)
    return frozenset(mask.paths)
