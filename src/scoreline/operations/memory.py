"""What the C library does with memory that is freed (mallopt(3)); other libraries than glibc are left alone."""

import ctypes
from typing import Final

_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8


def share_one_arena() -> None:
    """Has all threads of this process and its forks share one arena: what one has freed the next one uses again.

    It must come before the first thread, for an arena that is there stays: of two, a swap would fill now the one, now
    the other, and in time each would hold two versions of a model.
    """
    _set((_M_ARENA_MAX, 1))


def keep_freed_memory() -> None:
    """Has the C library keep up to 64 MiB of what is freed, instead of giving it back and faulting it in again.

    A body, its rows and their frame are some hundred KiB each: by default every large request costs some hundred page
    faults.
    """
    _set((_M_TRIM_THRESHOLD, 64 << 20), (_M_MMAP_THRESHOLD, 32 << 20))


def give_back_freed_memory() -> None:
    """Gives back, once, all pages that hold nothing any more: those of a version that is gone, say (malloc_trim(3))."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(ctypes.c_size_t(0))


def _set(*options: tuple[int, int]) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option, value in options:
            mallopt(option, value)
