"""The methods side by side: `python -m training compare`.

settings    what is asked for, and the presets
entry       one method with its settings, as a line of the table names it
plan        all runs, each checked before the first is trained
one_run     one run in its folder: begun, resumed, or left as it is
workers     where runs are made: here, in processes, on a Dask cluster
table       what came out, over seeds; published numbers beside it
markdown, latex   the table as text
"""

from training.experiments.compare.plan import Plan, planned
from training.experiments.compare.settings import COMPARISONS, Compare

__all__ = ["COMPARISONS", "Compare", "Plan", "planned"]
