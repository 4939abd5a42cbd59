"""The HTML page of a run: valid, self-contained, escaped, and saying what the result files say."""

import json
import re
import shutil
from html.parser import HTMLParser

import pytest

from training.certificates.history import open_history
from training.commands.report import write_page
from training.errors import InputError
from training.reports.html import page, read_runs
from training.reports.html.measures import compared

VOID = {"meta", "link", "path", "polyline", "br"}


class Page(HTMLParser):
    """Elements with their attributes; fails on tags that do not match."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def run(digits_run, tmp_path):
    return shutil.copytree(digits_run("shadow"), tmp_path / "run")


@pytest.fixture
def prune(digits_run, tmp_path):
    """The shadow run told as a prune run, with gates removed at a step."""
    folder = shutil.copytree(digits_run("shadow"), tmp_path / "prune")
    result = json.loads((folder / "table.json").read_text())
    result["mode"] = "prune"
    result["gated"] |= {"units_left": result["gated"]["units_left"] - 2}
    for kind in ("units", "layers"):
        del result[kind]
    (folder / "table.json").write_text(json.dumps(result))
    with (folder / "scalars.jsonl").open("a") as file:
        file.write(json.dumps({"network": "gated", "step": 30, "removed": [1, 4], "macs_left": 5}) + "\n")
    return folder


def data_of(text):
    return [json.loads(each) for each in re.findall(r'class="paths">(.*?)</script>', text)]


def test_the_page_is_valid_needs_nothing_else_and_begins_with_the_verdict(run, prune):
    text = page(read_runs([run, prune]))
    seen = Page(text).seen
    assert not [tag for tag, given in seen if {"src", "srcset"} & given.keys() or tag in ("img", "iframe")]
    links = [given["href"] for tag, given in seen if "href" in given]
    assert links and all(tag in ("a", "link") for tag, given in seen if "href" in given)
    outside = re.findall(r"https?://[^\s\"'<]*", text)
    assert sorted(outside) == sorted(link for link in links if link.startswith("http"))
    assert not [given for tag, given in seen if tag == "link" and not given["href"].startswith("data:")]
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\s", text)
    assert text.index('class="verdict"') < text.index("Side by side") < text.index("<article>")


def test_the_numbers_are_those_of_the_result_files(run, prune):
    (one,), (two,) = read_runs([run]), read_runs([prune])
    table = json.loads((run / "table.json").read_text())
    row = next(row for row in table["units"] if row["rule"] == "bilinear")
    layers = next(row for row in table["layers"] if row["rule"] == "half-plane")
    assert one.verdict.certified == row["flagged"] + layers["flagged"] > 0
    assert one.verdict.held + one.verdict.wrong + one.verdict.undecided == one.verdict.certified
    assert two.verdict.certified == 2 and two.verdict.held is None
    assert [two.removed[gate] for gate in (0, 1, 4)] == [-1, 30, 30]

    text = page([one])
    assert f"{100 * table['gated']['accuracy']:.2f}% test accuracy" in text
    (data,) = data_of(text)
    history = open_history(run / "gates.zarr")
    assert data["gates"] == [str(name) for name in history.gate.values]
    assert data["steps"] == history.step.values.tolist()
    assert data["theta"][3] == pytest.approx(history.theta.values[:, 3], abs=1e-3)
    on = int((history.theta.values[-1] >= 0.5)[~history.is_branch.values].sum())
    after = [int(b) for a, b in re.findall(r"<td>(\d+) → (\d+)</td>", text)]
    assert sum(after) == on and sum(after) < sum(int(a) for a, b in re.findall(r"<td>(\d+) → (\d+)</td>", text))


def test_a_prune_runs_page_says_what_was_trained_and_what_is_left_of_it(run, prune):
    gated = json.loads((prune / "table.json").read_text())["gated"]
    (told,), (shadow,) = read_runs([prune]), read_runs([run])
    assert told.macs_left == 5 and shadow.macs_left is None
    text = page([told])
    on = f"{100 * gated['macs'] / gated['macs_full']:.1f}%"
    assert f"{100 * 5 / gated['macs_full']:.1f}% of the multiply–accumulates are left in the network as it was" in text
    assert f"{on} once the gates that no certificate spoke about and that ended below θ = ½ are switched off" in text
    assert f"{on} of the multiply–accumulates are left" in page([shadow])
    name = "multiply–accumulates left in the network as trained (% of the full network's)"
    assert {row[0]: row[1:] for row in compared([told])}[name] == [f"{100 * 5 / gated['macs_full']:.1f}"]
    assert name not in {row[0] for row in compared([shadow])}


def test_a_folder_of_seeds_gives_its_runs_with_mean_and_deviation(run, tmp_path):
    folder = tmp_path / "seeds"
    for seed, accuracy in ((0, 0.5), (1, 0.7)):
        each = shutil.copytree(run, folder / f"seed{seed}")
        result = json.loads((each / "table.json").read_text())
        result["seed"], result["gated"]["accuracy"] = seed, accuracy
        result["settings"] |= {"seed": seed, "out": str(each)}
        (each / "table.json").write_text(json.dumps(result))
    (folder / "config.json").write_text(json.dumps({"seeds": 2}))
    runs = read_runs([folder])
    assert [each.name for each in runs] == ["seed0", "seed1"]
    rows = {row[0]: row[1:] for row in compared(runs)}
    assert rows["test accuracy, last epoch (%)"] == ["50.00", "70.00", "60.00 ± 14.14"]
    assert "mean ± s.d. (n = 2)" in page(runs)
    write_page([str(folder)])
    Page((folder / "report.html").read_text())


def test_names_and_commands_are_escaped(run):
    path = run / "table.json"
    result = json.loads(path.read_text())
    result |= {"command": "</script><b>'x'&", "preset": "<i>p</i>", "data": "<u>"}
    path.write_text(json.dumps(result))
    shutil.rmtree(run / "gates.zarr")
    paths = json.loads((run / "gate_paths.json").read_text())
    paths["gates"][0] = '</script><b onload="x">[0]'
    (run / "gate_paths.json").write_text(json.dumps(paths))
    text = page(read_runs([run]))
    parsed = Page(text)
    assert not {"b", "i", "u"} & {tag for tag, _ in parsed.seen}
    assert "</script><b>'x'&" in "".join(parsed.text)
    assert data_of(text)[0]["gates"] == paths["gates"]


def test_what_cannot_be_told_is_one_line(run, prune, tmp_path, capsys):
    def refused(*folders):
        with pytest.raises(InputError) as found:
            write_page([str(folder) for folder in folders])
        assert "\n" not in str(found.value)
        return str(found.value)

    assert "no run folder" in refused(tmp_path / "nowhere")
    assert "holds no config.json" in refused(tmp_path)
    assert "named twice" in refused(run, run / ".." / "run")
    (prune / "table.json").unlink()
    assert "python -m training resume" in refused(run, prune)
    (run / "table.json").write_text("{}")
    assert "another version" in refused(run)
    (run / "table.json").write_text("{")
    assert "is damaged" in refused(run)
    empty = tmp_path / "seeds"
    empty.mkdir()
    (empty / "config.json").write_text(json.dumps({"seeds": 3}))
    assert "holds no runs yet" in refused(empty)
    for arguments, said in (([], "at least one run"), ([str(run), "--out", "page.txt"], "must end in .html")):
        with pytest.raises(SystemExit) as stopped:
            write_page(arguments)
        assert stopped.value.code == 2 and said in capsys.readouterr().err
