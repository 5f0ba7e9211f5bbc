"""What every subcommand's parser has in common."""

import argparse
from typing import NoReturn

from controller.exit_codes import BAD_INPUT


class Parser(argparse.ArgumentParser):
    """Complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and leave."""
        self.exit(BAD_INPUT, f"{self.prog}: {message}; see {self.prog} --help\n")


class Formatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows defaults where there are any."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        return action.help if action.default in (None, False) else super()._get_help_string(action)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        """Leaves examples as they are, so that each can be pasted."""
        return indent + text if text.startswith("examples:\n") else super()._fill_text(text, width, indent)


def examples(*lines: str) -> str:
    """What stands at the end of a help: commands that work when they are pasted in this order."""
    return "\n  ".join(("examples:", *lines))
