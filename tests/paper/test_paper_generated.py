"""Generated files say what the result files say; a changed result changes its number and nothing else."""

import json
import shutil

import pytest

from dynamics.verification import all_claims
from paper.generate import FIGURES, generated, stale, write
from paper.numbers import NUMBERS, numbers
from paper.observations import OBSERVATIONS, observations
from paper.sources import ROOT, SOURCES, Results
from paper.tables import TABLES, tables
from training.commands.evidence import pool_runs
from training.experiments.quote import quoted

COMMITTED = ROOT / "paper" / "generated"


@pytest.fixture
def copied(tmp_path):
    """A root with the committed result files, to be changed."""
    for source in SOURCES.values():
        if (ROOT / source.path).is_file():
            (tmp_path / source.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source.path, tmp_path / source.path)
    (tmp_path / "paper" / "sections").mkdir()
    (tmp_path / "paper" / "paper.tex").write_text("")
    return tmp_path


def change(root, source, edit):
    path = root / SOURCES[source].path
    result = json.loads(path.read_text())
    edit(result)
    path.write_text(json.dumps(result))


def differing(before, after):
    """Lines that are in one of two generations only, by file."""
    names = sorted(set(before) | set(after))
    lines = {name: set(before.get(name, "").splitlines()) ^ set(after.get(name, "").splitlines()) for name in names}
    return {name: found for name, found in lines.items() if found}


def test_committed_files_are_up_to_date():
    assert stale(Results(), COMMITTED) == [], "run `python -m paper` and commit paper/generated"


def test_a_stale_a_missing_and_a_superfluous_file_are_found(tmp_path):
    for name, text in generated(Results()).items():
        (tmp_path / name).write_text(text)
    assert stale(Results(), tmp_path) == []
    (tmp_path / "numbers.tex").write_text((tmp_path / "numbers.tex").read_text().replace("73.68", "99.99"))
    (tmp_path / "claims.tex").unlink()
    (tmp_path / "old.tex").write_text("")
    (tmp_path / FIGURES).write_text("made for each build, not compared")
    assert stale(Results(), tmp_path) == ["claims.tex", "numbers.tex", "old.tex"]


def test_one_changed_result_changes_one_number(copied):
    before = generated(Results(copied))

    def better(result):
        result["gated"]["accuracy"] = 0.7412

    change(copied, "shadow", better)
    changed = differing(before, generated(Results(copied)))
    assert set(changed) == {"numbers.tex"}
    assert {line.partition("endcsname{")[0] for line in changed["numbers.tex"]} == {
        r"\expandafter\def\csname res@shadow.accuracy\\"[:-1]
    }
    assert any("74.12" in line for line in changed["numbers.tex"])


def test_one_changed_row_changes_one_line_of_its_table(copied):
    before = generated(Results(copied))

    def more(result):
        result["units"][4]["caught"] += 1

    change(copied, "shadow", more)
    changed = differing(before, generated(Results(copied)))
    assert {name: len(lines) for name, lines in changed.items()} == {"shadow-units.tex": 2}


def test_an_observation_that_a_result_contradicts_is_loud(copied):
    assert dict(observations(Results(copied)))["prune-above-shadow"]

    def worse(result):
        result["gated"]["accuracy"] = 0.5

    change(copied, "prune", worse)
    assert not dict(observations(Results(copied)))["prune-above-shadow"]
    assert (
        r"\csname obs@prune-above-shadow\endcsname{\contradicted{prune-above-shadow}}"
        in (generated(Results(copied))["numbers.tex"])
    )


def test_the_committed_results_bear_out_every_sentence():
    found = dict(observations(Results()))
    assert found and all(found.values()), f"rewrite the sentences {[n for n, holds in found.items() if not holds]}"


def test_a_missing_result_leaves_a_command_and_no_number(copied):
    (copied / SOURCES["shadow"].path).unlink()
    files = generated(Results(copied))
    assert "res@shadow." not in files["numbers.tex"] and "src@shadow" not in files["numbers.tex"]
    assert "path@shadow" in files["numbers.tex"] and "--preset cifar10-quick" in (
        files["numbers.tex"].replace("-{}-", "--").replace(r"\allowbreak ", "")
    )
    assert "shadow-units.tex" not in files
    assert not any(
        name in dict(observations(Results(copied))) for name, o in OBSERVATIONS.items() if "shadow" in o.sources
    )


def test_write_adds_and_removes(copied):
    changed = write(Results(copied), copied / "paper")
    assert set(changed) == set(generated(Results(copied))) and stale(Results(copied), copied / "paper/generated") == []
    (copied / SOURCES["shadow"].path).unlink()
    assert {"shadow-units.tex", "shadow-layers.tex", "numbers.tex"} <= set(write(Results(copied), copied / "paper"))
    assert not (copied / "paper/generated/shadow-units.tex").exists()
    assert write(Results(copied), copied / "paper") == []


def test_figures_that_no_section_places_are_appended(copied):
    (copied / "paper/figures").mkdir()
    (copied / "paper/sections/one.tex").write_text(r"\suitefigure{placed}{Here.}")
    for name in ("placed", "left"):
        (copied / f"paper/figures/{name}.pdf").write_bytes(b"")
    write(Results(copied), copied / "paper")
    text = (copied / "paper/generated" / FIGURES).read_text()
    assert r"\suitefigure{left}" in text and "placed" not in text


def test_a_broken_result_file_is_named(copied):
    path = copied / SOURCES["step"].path
    path.write_text("{")
    with pytest.raises(ValueError, match=str(path)):
        dict(numbers(Results(copied)))


@pytest.fixture(scope="module")
def pooled(digits_run, tmp_path_factory):
    """Evidence of a real shadow run on the digits and its prune run, as the command writes it."""
    out = tmp_path_factory.mktemp("pooled") / "evidence.json"
    pool_runs([str(digits_run("shadow")), str(digits_run("prune")), "--out", str(out)])
    return out


def test_pooled_evidence_fills_its_numbers_and_tables(copied, pooled):
    before = generated(Results(copied))
    for source in ("evidence", "evidence-digits"):
        shutil.copy(pooled, copied / SOURCES[source].path)
    files, found = generated(Results(copied)), dict(numbers(Results(copied)))
    wanted = {f"{name}.tex" for name, (source, _) in TABLES.items() if source.startswith("evidence")}
    assert wanted <= set(files) and r"\toprule" in files["evidence-pairs.tex"]
    assert {f"evidence.{name}" for name in NUMBERS["evidence"]} <= set(found)
    assert found["evidence.runs"] == "1" and found["evidence.refutations"] == "0"
    rest = {name: lines for name, lines in differing(before, files).items() if name not in wanted}
    names = ("@evidence", "obs@no-refutation")
    assert set(rest) == {"numbers.tex"} and all(any(n in line for n in names) for line in rest["numbers.tex"])


def test_every_table_and_number_belongs_to_a_source():
    assert set(NUMBERS) <= set(SOURCES)
    assert {source for source, _ in TABLES.values()} <= set(SOURCES)
    assert {source for o in OBSERVATIONS.values() for source in o.sources} <= set(SOURCES)
    assert all(r"\toprule" in text for name, text in tables(Results()) if name != "evidence-pairs")


def test_committed_claims_are_those_of_verify():
    records = Results()["claims"]["claims"]
    known = all_claims()
    assert [r["name"] for r in records] == list(known), f"stale: {SOURCES['claims'].command}"
    for record in records:
        claim = known[record["name"]]
        assert (record["statement"], record["method"]) == (claim.statement, claim.method), record["name"]
        assert record["outcome"]["status"] in ("proved", "held")


def test_readme_quotes_and_article_read_the_same_file():
    text, found = (ROOT / "README.md").read_text(), dict(numbers(Results()))
    assert "<!-- quote paper/results/evidence-digits.json#Units -->" in text and quoted(text, ROOT) == text
    assert f"{found['evidence-digits.runs']} shadow runs" in text
    for name in ("caught", "wrong"):
        assert f"= {found[f'evidence-digits.units.{name}'].partition(chr(92))[0]}% [" in text
