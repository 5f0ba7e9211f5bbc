"""The JSON Schema of the case format, for editors and other programs; the reader is stricter than a schema can be."""

from importlib.resources import files


def case_schema() -> str:
    """The JSON Schema (draft 2020-12) of a file of cases."""
    return files("controller.case").joinpath("schema.json").read_text(encoding="utf-8")
