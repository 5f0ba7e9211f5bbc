"""``gridpact restore``: the way back of ``gridpact backup``."""

from controller.backup_command import run

__all__ = ["run"]
