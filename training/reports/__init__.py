"""Runs as text and as one self-contained page."""

from training.reports.text import print_result, report

__all__ = ["print_result", "report"]
