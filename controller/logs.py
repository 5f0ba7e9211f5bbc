"""What the service says: lines for people, or one JSON object a line for machines.

Fields that a record carries (``extra=``) and that are listed here are written beside the message. Payloads, keys and
members' data are never logged.
"""

import json
import logging
from datetime import UTC, datetime
from typing import TextIO

FIELDS = ("microgrid", "window", "identity", "method", "code", "incident")
"""Fields of a record that are written."""


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields that are there, and an exception's trace."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        line: dict[str, object] = {
            "time": _instant(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class TextFormatter(logging.Formatter):
    """Time, level, message, and the fields that are there."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record; more than one where there is a trace."""
        fields = "".join(f" {name}={getattr(record, name)}" for name in FIELDS if hasattr(record, name))
        line = f"{_instant(record)} {record.levelname.lower():<7} {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def configure(level: str, format_: str, stream: TextIO) -> None:
    """Let every logger of the process write to a stream.

    Parameters
    ----------
    level : debug, info, warning or error
    format_ : text or json
    stream : where to
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter() if format_ == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Each migration at each start, and what libraries say about their own affairs, is nobody's concern.
    for name in ("alembic", "sqlalchemy", "grpc", "urllib3", "web3", "eth"):
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))


def _instant(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
