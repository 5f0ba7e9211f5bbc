"""Time zones by their IANA names."""

from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.refusals import invalid


def known_zone(field: str, name: str) -> str:
    """The name, when the IANA database has it."""
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        raise invalid(field, got=name, wanted="an IANA time zone such as Europe/Berlin") from err
    return name
