"""When something happens, as lines of a table: a day is named once, and no line breaks inside a time."""

from collections.abc import Sequence

from controller.plan.calendar import Calendar

LEAST_WIDTH = 25
"""Characters that ``charging 21:00-Thu 06:00,`` takes: a narrower column would hold no more than a word a line."""


def spans(calendar: Calendar, found: Sequence[tuple[int, int]]) -> list[str]:
    """Half-open intervals of MTUs in local time, each with its day where that is not the one named last."""
    told, named = [], calendar.local(0).date()
    for first, end in found:
        begin, finish = calendar.local(first), calendar.local(end)
        text = f"{begin:%H:%M}-" if begin.date() == named else f"{begin:%a %H:%M}-"
        named = begin.date()
        if finish.date() == named:
            text += f"{finish:%H:%M}"
        elif f"{finish:%H:%M}" == "00:00" and (finish.date() - named).days == 1:
            text += "24:00"
        else:
            text += f"{finish:%a %H:%M}"
            named = finish.date()
        told.append(text)
    return told


def filled(lead: str, told: Sequence[str], *, width: int, most: int | None) -> list[str]:
    """Lines of at most so many characters that list what is told, separated by commas.

    Parameters
    ----------
    lead : what stands before the first, such as ``charging``; empty for nothing
    told : texts, none of which is broken
    width : characters of a line
    most : about how many are listed before it says how many more there are; None for all
    """
    # One that is left out takes as much room as saying so.
    shown = list(told if most is None or len(told) <= most + 1 else told[:most])
    words = [f"{text}," for text in shown[:-1]] + shown[-1:]
    if len(told) > len(shown):
        words.append(f"and {len(told) - len(shown)} more")
    lines = [lead] if lead else []
    for word in words:
        if lines and len(lines[-1]) + 1 + len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
