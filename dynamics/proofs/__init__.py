"""The checking of claims: symbolic steps, interval boxes, and the four outcomes."""

from dynamics.proofs.claim import Claim, Outcome, Status, held, proved, refuted, undecided

__all__ = ["Claim", "Outcome", "Status", "held", "proved", "refuted", "undecided"]
