import dataclasses

import pytest

from training import __main__ as program
from training.commands import data as data_command


def run(monkeypatch, capsys, *arguments):
    """Exit status, output, errors of `python -m training …`."""
    monkeypatch.setattr("sys.argv", ["training", *arguments])
    try:
        status = program.main()
    except SystemExit as stopped:  # the way tyro refuses
        status = stopped.code
    return status, *capsys.readouterr()


@pytest.mark.parametrize("name, folder", [("cifar10", "cifar-10-batches-py"), ("cifar100", "cifar-100-python")])
def test_without_a_network_it_says_what_to_place_where_and_exits_with_2(name, folder, tmp_path, monkeypatch, capsys):
    archive = data_command.ARCHIVES[name]
    nobody = "http://127.0.0.1:9/" + archive.name
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setitem(data_command.ARCHIVES, name, dataclasses.replace(archive, url=nobody))
    place = tmp_path / "new"
    status, out, err = run(monkeypatch, capsys, "data", name, "--folder", str(place))
    assert (status, out) == (2, "")
    first = next(iter(archive.layout.checksums))
    assert err == (
        f"error: cannot download {nobody} (Connection refused); place {archive.name} (md5 {archive.checksums['md5']}) "
        f"in {place}/ and run this again, or unpack it so that {place / folder / first} is there\n"
    )


def test_what_it_did_is_printed(monkeypatch, capsys, tmp_path):
    def fetch(archive, folder, url):
        return f"{archive.cifar.title} from {url} into {folder}"

    monkeypatch.setattr(data_command, "fetch", fetch)
    status, out, err = run(monkeypatch, capsys, "data", "cifar100", "--url", "http://mirror/a.tar.gz")
    assert (status, out, err) == (0, "CIFAR-100 from http://mirror/a.tar.gz into data\n", "")


def test_an_interruption_says_that_the_download_is_continued(monkeypatch, capsys):
    def fetch(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(data_command, "fetch", fetch)
    status, _, err = run(monkeypatch, capsys, "data", "cifar10")
    assert (status, err) == (130, "interrupted; what was received is kept, and the same command continues it\n")


@pytest.mark.parametrize("arguments", [[], ["mnist"], ["cifar10", "cifar100"]])
def test_other_names_are_refused(arguments, monkeypatch, capsys):
    status, _, err = run(monkeypatch, capsys, "data", *arguments)
    assert status == 2 and err.startswith("error: ") and err.count("\n") == 1
