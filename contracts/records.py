"""The base of every value that is hashed: its columns give its checks, its ABI encoding and its JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from functools import cache
from typing import ClassVar, Self, get_type_hints

from contracts.columns import Column
from contracts.errors import EvidenceError


class Record:
    """A frozen dataclass whose fields are annotated with the types of `contracts.columns`.

    What exists is valid: construction refuses a value that its column refuses.
    """

    __slots__ = ()

    schema_name: ClassVar[str]
    """Hashed before all fields, so that no record can be taken for one of another kind."""

    @classmethod
    @cache
    def columns(cls) -> dict[str, Column]:
        """Column of each field, in the order in which they are hashed."""
        hints = get_type_hints(cls, include_extras=True)
        return {field.name: hints[field.name].__metadata__[0] for field in fields(cls)}  # type: ignore[arg-type]

    def __post_init__(self) -> None:
        for name, column in self.columns().items():
            column.check(getattr(self, name), name)

    def abi_types(self) -> list[str]:
        """Solidity types of `abi_values`."""
        return ["string", *(column.abi for column in self.columns().values())]

    def abi_values(self) -> list[object]:
        """The schema's name and then the fields: what is hashed."""
        return [self.schema_name, *(getattr(self, name) for name in self.columns())]

    def to_json(self) -> dict[str, object]:
        """The fields as JSON spells them: integers, text, and hashes in hexadecimal."""
        return {name: column.to_json(getattr(self, name)) for name, column in self.columns().items()}

    @classmethod
    def from_json(cls, value: object) -> Self:
        """The record that `to_json` spells as `value`.

        Raises
        ------
        EvidenceError
            If a field is missing, unknown, mistyped or out of bounds; the error names the field.
        """
        columns = cls.columns()
        stated = read_object(value, columns)
        return cls(**{name: column.from_json(stated[name], name) for name, column in columns.items()})


def read_object(value: object, names: Mapping[str, object] | tuple[str, ...]) -> dict[str, object]:
    """The JSON object `value`, which has exactly the fields `names`.

    Raises
    ------
    EvidenceError
        If it is no object, lacks a field or has another one.
    """
    if not isinstance(value, dict):
        raise EvidenceError("a JSON object", got=value)
    for name in names:
        if name not in value:
            raise EvidenceError("this field, which is missing", got=sorted(value), field=name)
    for name in value:
        if name not in names:
            raise EvidenceError(f"only the fields {', '.join(names)}", got=value[name], field=name)
    return value
