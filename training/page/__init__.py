"""Run folders as one self-contained HTML page: `python -m training report RUN [RUN …]`."""

from training.page.document import page
from training.page.runs import PageRun, read_runs

__all__ = ["PageRun", "page", "read_runs"]
