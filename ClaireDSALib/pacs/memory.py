"""A service that runs for months gives memory back.

The C library of Linux (glibc) keeps up to eight heaps for each core, one for each thread that is busy at the same time,
and what a large object once needed stays with the heap it came from. With a thread for every association that adds up
to many times what is in use: memory seems to grow for as long as new heaps meet their first large object.
"""

from __future__ import annotations

import ctypes
import logging

_LOG = logging.getLogger(__name__)

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Names of mallopt(3) as numbers, from glibc's ``malloc.h``."""
_MOST_HEAPS = 2
_LARGE_BYTES = 128 * 1024
"""From this size on memory is taken from the system and given back at once; glibc otherwise raises it by itself."""


def give_memory_back() -> bool:
    """Tell the allocator of this process to keep few heaps and no large pieces; False where it cannot be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc; on Windows there is no CDLL(None)
        return False
    told = [
        bool(mallopt(what, value)) for what, value in ((_M_ARENA_MAX, _MOST_HEAPS), (_M_MMAP_THRESHOLD, _LARGE_BYTES))
    ]
    _LOG.debug("allocator: few heaps %s, large pieces given back %s", *told)
    return all(told)
