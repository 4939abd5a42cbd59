"""Certificates that a gate is safe to remove: measured couplings, regions, rules, and what became of each gate."""

from training.certificates.constants import Constants
from training.certificates.fates import ALIVE, DEAD, REVIVED, Fate
from training.certificates.history import History, open_history
from training.certificates.noise_bound import escape_bound
from training.certificates.record import Record
from training.certificates.regions import Certificates, certify
from training.certificates.rules import RULES, Rule, first_flags, flag_masks, removable, rule, threshold
from training.certificates.tracker import Tracker, TrackerSettings

__all__ = [
    "ALIVE",
    "DEAD",
    "REVIVED",
    "RULES",
    "Certificates",
    "Constants",
    "Fate",
    "History",
    "Record",
    "Rule",
    "Tracker",
    "TrackerSettings",
    "certify",
    "escape_bound",
    "first_flags",
    "flag_masks",
    "open_history",
    "removable",
    "rule",
    "threshold",
]
