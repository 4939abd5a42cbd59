"""What is called a claim is one that `python -m dynamics verify` checks."""

import re
from pathlib import Path

from dynamics.claims import TOPICS
from dynamics.proofs.claim import Claim
from dynamics.verification import all_claims

ROOT = Path(__file__).parents[2]


def test_every_claim_that_a_topic_defines_is_listed():
    for topic in TOPICS:
        defined = {value.name for value in vars(topic).values() if isinstance(value, Claim)}
        assert defined == {item.name for item in topic.CLAIMS}, topic.__name__


def test_claims_that_code_and_pages_name_are_there():
    topics = "|".join(sorted({name.partition("-")[0] for name in all_claims()}))
    named = {
        (str(path.relative_to(ROOT)), name)
        for pattern in ("dynamics/**/*.py", "training/**/*.py", "figures/*.py", "docs/**/*.md")
        for path in ROOT.glob(pattern)
        for name in re.findall(rf"`((?:{topics})-[a-z-]+)`", path.read_text(encoding="utf-8"))
    }
    assert len(named) > 40
    assert [each for each in sorted(named) if each[1] not in all_claims()] == []
