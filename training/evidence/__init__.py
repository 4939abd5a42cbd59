"""The evidence of stored runs for and against the certificates."""

from training.evidence.audit import Row
from training.evidence.pool import Flagged
from training.evidence.result import evidence
from training.evidence.runs import ShadowRun, open_run

__all__ = ["Flagged", "Row", "ShadowRun", "evidence", "open_run"]
