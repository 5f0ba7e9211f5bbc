"""The authorisation matrix as a table for people; docs/security.md shows it, and a test keeps it fresh."""

from controller.access import ALLOWED, OWN, Role


def matrix_table() -> str:
    """The matrix in Markdown: a line for each method of the API, a column for each role."""
    roles = tuple(Role)
    lines = [
        "| method | " + " | ".join(role.value for role in roles) + " | beyond the own microgrid |",
        "|---" * (len(roles) + 2) + "|",
    ]
    for method, allowed in sorted(ALLOWED.items()):
        if not method.startswith("/gridpact."):
            continue
        name = method.removeprefix("/gridpact.v1.").replace("Service/", ".")
        cells = ["yes" if role in allowed else "" for role in roles]
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {OWN[method].value if method in OWN else ''} |")
    return "\n".join(lines) + "\n"
