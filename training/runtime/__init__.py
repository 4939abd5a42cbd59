"""Files, checkpoints, progress, processes and random streams, as any long run needs them."""

from training.runtime.atomic_files import read_json, write_atomically, write_json
from training.runtime.checkpoints import Checkpoints
from training.runtime.process_group import ALONE, Ranks, RanksDifferError
from training.runtime.process_pool import processes
from training.runtime.progress import Progress
from training.runtime.random_streams import stream
from training.runtime.run_folder import RunFolder, settings_in
from training.runtime.shard import WHOLE, Share
from training.runtime.stopwatch import Stopwatch
from training.runtime.sync_batch_norm import synchronise

__all__ = [
    "ALONE",
    "WHOLE",
    "Checkpoints",
    "Progress",
    "Ranks",
    "RanksDifferError",
    "RunFolder",
    "Share",
    "Stopwatch",
    "processes",
    "read_json",
    "settings_in",
    "stream",
    "synchronise",
    "write_atomically",
    "write_json",
]
