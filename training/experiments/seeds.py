"""The same run with many seeds: each in a folder and a process of its own, what is done is skipped, then pooled."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from concurrent.futures import as_completed
from dataclasses import replace
from pathlib import Path

from training.engine.config import RunConfig, from_json, to_json
from training.errors import InputError
from training.evidence.conclusion import conclude, stop_if_refuted
from training.evidence.result import evidence
from training.evidence.runs import open_run
from training.experiments.validate import checked, default_folder, resume, validate
from training.reports.text import print_result, summary
from training.runtime.environment import environment
from training.runtime.interruption import goes_on
from training.runtime.process_pool import processes
from training.runtime.progress import Progress
from training.runtime.run_folder import RunFolder, settings_in

__all__ = ["resume_any", "validate_seeds"]


def validate_seeds(config: RunConfig) -> Path:
    """Make the runs with seeds `seed` to `seed + seeds − 1` and return the folder that holds them.

    They lie in seedN/ below it, what each printed beside it in seedN.log. Called again with the same settings it goes
    on with what is missing. Shadow runs are pooled at the end: evidence.json and evidence.md.

    Raises:
        InputError: for what `validate` refuses, or a folder that holds runs of other settings.
        RefutedError: if the theory is refuted; everything is written before.
    """
    if "WORLD_SIZE" in os.environ:
        raise InputError(f"seeds must be 1 under torchrun, whose processes make one run together; got {config.seeds}")
    checked(config)
    folder = config.out or default_folder(config)
    settings = to_json(replace(config, out=None, jobs=1))
    seeds = range(config.seed, config.seed + config.seeds)
    each = [
        replace(config, out=folder / f"seed{seed}", seed=seed, seeds=1, threads=config.threads or 1) for seed in seeds
    ]
    with _folder(folder, settings) as runs, goes_on(f"python -m training resume {shlex.quote(str(folder))} goes on"):
        runs.json("config.json", settings)
        runs.json("environment.json", environment())
        _run_all(each, config.jobs or os.cpu_count() or 1)
        if config.mode == "shadow":
            result = evidence([open_run(run.out) for run in each if run.out])
            out = folder / "evidence.json"
            text = conclude(result, out)
            print(f"{text}\n\nHeadroom and growth: {out.with_suffix('.md')}")
            stop_if_refuted(result, out)
    return folder


def resume_any(path: Path) -> Path | None:
    """Go on with what lies in a folder: one run (`training.experiments.validate.resume`), or the runs of many seeds.

    Raises:
        InputError: as `resume` and `validate_seeds`.
    """
    config = from_json(settings_in(path))
    return resume(path) if config.seeds == 1 else validate_seeds(replace(config, out=path, jobs=0))


def _folder(path: Path, settings: dict[str, object]) -> RunFolder:
    """A new folder, or one that an earlier call with these settings has begun."""
    if not (path / "config.json").exists():
        return RunFolder(path)
    folder = RunFolder(path, existing=True)
    if folder.read("config.json") != settings:
        folder.close()
        raise InputError(f"run folder {path} holds runs of other settings: choose another --out")
    return folder


def _run_all(configs: list[RunConfig], jobs: int) -> None:
    configs = [config for config in configs if not _done(config)]
    if not configs:
        return
    with Progress("seeds", len(configs)) as progress, processes(jobs) as pool:
        for done in as_completed([pool.submit(_one, config) for config in configs]):
            progress.note(done.result())
            progress.advance()


def _begun(run: Path) -> bool:
    return (run / "config.json").exists()


def _done(config: RunConfig) -> bool:
    """Whether a run has written its table, with all that is asked for."""
    assert config.out is not None
    path = config.out / "table.json"
    return path.exists() and (not config.ungated or "ungated" in json.loads(path.read_text()))


def _one(config: RunConfig) -> str:
    """Make or finish one run, in a process of its own; one line about it."""
    assert config.out is not None
    config.out.parent.mkdir(parents=True, exist_ok=True)
    log = (config.out.parent / f"{config.out.name}.log").open("a", encoding="utf-8")
    with log, contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        folder = resume(config.out) if _begun(config.out) else validate(config)
        assert folder is not None  # one process a run
        result = json.loads((folder / "table.json").read_text())
        print_result(result)
    return f"{folder.name}: {summary(result)}"
