"""Market cases in files: how they are read, and how answers to them are said. The format is in ``docs/cases.md``."""
