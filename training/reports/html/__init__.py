"""Run folders as one self-contained HTML page: `python -m training report RUN [RUN …]`."""

from training.reports.html.document import page
from training.reports.html.runs import PageRun, read_runs

__all__ = ["PageRun", "page", "read_runs"]
