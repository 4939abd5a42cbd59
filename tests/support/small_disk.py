"""A disk on which no file may be larger than so many bytes: what is written fails in the middle, as on a full one."""

import contextlib
import resource


@contextlib.contextmanager
def small_disk(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
