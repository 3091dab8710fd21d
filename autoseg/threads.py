"""Threads that compute side by side, each on a core of its own.

PyTorch shares out every single operation among its threads. Where operations are small that takes longer than the work; here each thread does
whole pieces of the work instead, with operations that are not shared any further. Such threads are made once and kept.
"""

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from threading import Barrier, Lock
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Made = TypeVar("Made")
_LOCK = Lock()


def lone_threads(count: int) -> ThreadPoolExecutor:
    """So many threads, at least 1, whose tensor operations take no further threads. They serve all callers; do not shut them down."""
    with _LOCK:
        return _made(count)


def map_in_order(work: Callable[[Piece], Made], pieces: Sequence[Piece]) -> Iterator[Made]:
    """What `work` makes of every piece, in order, on as many threads as PyTorch has here, with or without gradients as here.

    No thread is more than a few pieces ahead of the caller.

    Parameters
    ----------
    work : touches nothing that another piece touches
    pieces : at least as many as threads, or all are done on the calling thread
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(pieces) < threads:
        yield from map(work, pieces)
        return
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def on_its_own(piece: Piece) -> Made:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return work(piece)

    pool = lone_threads(threads)
    waiting: deque[Future[Made]] = deque()
    try:
        for piece in pieces:
            waiting.append(pool.submit(on_its_own, piece))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        end(waiting)


def end(futures: Sequence[Future[Made]]) -> None:
    """Cancel what has not begun, and wait for the rest: nothing goes on after its caller."""
    begun = [future for future in futures if not future.cancel()]
    for future in begun:
        future.exception()


@cache
def _made(count: int) -> ThreadPoolExecutor:
    before = torch.get_num_threads()
    begun = Barrier(count + 1)

    def begin() -> None:
        try:
            torch.get_num_threads()  # a thread that never asked would take, at its first operation, what counts for all by then
            torch.set_num_threads(1)
            begun.wait()
        except BaseException:
            begun.abort()
            raise

    pool = ThreadPoolExecutor(count, "alone")
    try:
        for _ in range(count):
            pool.submit(begin)
        begun.wait()
    except BaseException:
        begun.abort()
        pool.shutdown()
        raise
    finally:
        torch.set_num_threads(before)  # what counts for threads still to come
    return pool


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_made.cache_clear)  # threads stay behind in the parent
