"""Threads that compute side by side, each on a core of its own.

PyTorch shares out every single operation among its threads. Where operations are small that takes longer than the work; here each thread does
whole pieces of the work instead, with operations that are not shared any further.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Made = TypeVar("Made")


@contextmanager
def lone_threads(count: int, name: str) -> Iterator[ThreadPoolExecutor]:
    """A pool of threads whose tensor operations take no further threads; all other threads, old and new, keep theirs.

    Parameters
    ----------
    count : how many, from 1
    name : what the threads are called
    """
    before = torch.get_num_threads()
    begun = Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # a thread that never asked would take, at its first operation, what counts for all by then
        begun.wait()

    with ThreadPoolExecutor(count, name) as pool:
        try:
            for _ in range(count):
                pool.submit(begin)
            begun.wait()
        except BaseException:
            begun.abort()
            raise
        finally:
            torch.set_num_threads(before)  # for threads still to come
        yield pool


def each(pieces: Sequence[Piece], work: Callable[[Piece], Made], *, name: str) -> Iterator[Made]:
    """What `work` makes of every piece, in order, on as many threads as PyTorch has here, with or without gradients as here.

    No thread is more than a few pieces ahead of the caller.

    Parameters
    ----------
    pieces : at least as many as threads, or all are done on the calling thread
    work : touches nothing that another piece touches
    name : what the threads are called
    """
    threads = torch.get_num_threads()
    if threads == 1 or len(pieces) < threads:
        yield from map(work, pieces)
        return
    inference, gradients = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def on_its_own(piece: Piece) -> Made:
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return work(piece)

    with lone_threads(threads, name) as pool:
        waiting: deque[Future[Made]] = deque()
        try:
            for piece in pieces:
                waiting.append(pool.submit(on_its_own, piece))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
