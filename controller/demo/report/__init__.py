"""The demonstration day as one self-contained web page: ``write_report(day, path)``."""

from controller.demo.report.page import write_report

__all__ = ["write_report"]
