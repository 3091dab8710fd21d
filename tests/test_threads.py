"""Threads that compute alone: order, errors, gradient mode, and what other threads keep."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Thread, get_ident

import pytest
import torch

from autoseg.threads import lone_threads, map_in_order


@pytest.fixture
def three() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def in_a_new_thread() -> int:
    seen: list[int] = []
    other = Thread(target=lambda: seen.append(alone()))
    other.start()
    other.join()
    return seen[0]


def alone(_: object = None) -> int:
    (torch.ones(1 << 16) + 1).sum()  # a thread may settle on its number at its first operation
    return torch.get_num_threads()


@pytest.mark.usefixtures("three")
def test_threads_of_the_pool_are_alone_and_others_are_not() -> None:
    pool = lone_threads(2)
    assert [pool.submit(alone).result() for _ in range(5)] == [1] * 5
    assert in_a_new_thread() == 3 and alone() == 3
    assert lone_threads(2) is pool


@pytest.mark.usefixtures("three")
def test_pieces_come_back_in_order_from_several_threads() -> None:
    made = list(map_in_order(lambda piece: (piece, get_ident(), alone()), range(50)))
    assert [piece for piece, _, _ in made] == list(range(50))
    assert {number for _, _, number in made} == {1} and get_ident() not in {thread for _, thread, _ in made}


@pytest.mark.usefixtures("three")
def test_few_pieces_stay_on_the_calling_thread() -> None:
    assert list(map_in_order(lambda piece: (piece, get_ident(), alone()), [1, 2])) == [(1, get_ident(), 3), (2, get_ident(), 3)]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_gradients_are_as_on_the_calling_thread(inference: bool, gradients: bool) -> None:
    with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
        here = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        assert set(map_in_order(lambda _: (torch.is_inference_mode_enabled(), torch.is_grad_enabled()), range(9))) == {here}


@pytest.mark.usefixtures("three")
def test_an_error_reaches_the_caller_and_the_threads_serve_on() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda piece: 1 / piece, [1, 0, 1, 1]))
    assert list(map_in_order(lambda piece: 1 / piece, [1, 2, 4])) == [1, 0.5, 0.25]
    assert in_a_new_thread() == 3 and alone() == 3


@pytest.mark.usefixtures("three")
def test_threads_wait_for_the_caller_and_stop_with_it() -> None:
    begun: list[int] = []
    made = map_in_order(lambda piece: begun.append(piece) or piece, range(1000))  # type: ignore[func-returns-value]
    assert next(made) == 0
    made.close()
    stopped = len(begun)
    assert stopped < 10
    assert list(map_in_order(lambda piece: piece, range(5))) == list(range(5)) and len(begun) == stopped


def test_a_thread_that_cannot_start_is_an_error_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    before, begin, asked = torch.get_num_threads(), ThreadPoolExecutor.submit, []

    def submit(self: ThreadPoolExecutor, *given: Callable[[], None]) -> Future[None]:
        asked.append(self)
        if len(asked) > 1:  # the first waits for this one
            raise RuntimeError("can't start new thread")
        return begin(self, *given)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    with pytest.raises(RuntimeError, match="can't start"):
        lone_threads(7)
    assert in_a_new_thread() == before


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_has_threads_of_its_own() -> None:
    program = """
import os
from autoseg.threads import lone_threads
lone_threads(2).submit(int).result()
child = os.fork()
if child == 0:
    os._exit(lone_threads(2).submit(int).result())
assert os.waitpid(child, 0)[1] == 0
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
