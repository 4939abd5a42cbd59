"""Processes forked from one that has imported torch and the trainer already, which takes seconds."""

import multiprocessing

import torch.multiprocessing

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch._dynamo", "torch.distributed", "training.experiments.validate"])


def side_by_side(function, arguments, count=2):
    """Call `function(rank, *arguments)` in `count` processes; fail if one of them does."""
    torch.multiprocessing.start_processes(function, arguments, nprocs=count, start_method="forkserver")
