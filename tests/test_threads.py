"""Threads that compute alone: order, errors, gradient mode, and what other threads keep."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread, get_ident

import pytest
import torch

from autoseg.threads import each, lone_threads


@pytest.fixture
def three() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def alone(_: object = None) -> int:
    (torch.ones(1 << 16) + 1).sum()  # a thread may settle on its number at its first operation
    return torch.get_num_threads()


@pytest.mark.usefixtures("three")
def test_threads_of_the_pool_are_alone_and_others_are_not() -> None:
    seen: list[int] = []
    with lone_threads(2, "alone") as pool:
        assert [pool.submit(alone).result() for _ in range(5)] == [1] * 5
        other = Thread(target=lambda: seen.append(alone()))
        other.start()
        other.join()
        assert alone() == 3
    assert seen == [3] and alone() == 3


@pytest.mark.usefixtures("three")
def test_pieces_come_back_in_order_from_several_threads() -> None:
    made = list(each(range(50), lambda piece: (piece, get_ident(), alone()), name="pieces"))
    assert [piece for piece, _, _ in made] == list(range(50))
    assert {number for _, _, number in made} == {1} and get_ident() not in {thread for _, thread, _ in made}


@pytest.mark.usefixtures("three")
def test_few_pieces_stay_on_the_calling_thread() -> None:
    assert list(each([1, 2], lambda piece: (piece, get_ident(), alone()), name="few")) == [(1, get_ident(), 3), (2, get_ident(), 3)]


@pytest.mark.usefixtures("three")
@pytest.mark.parametrize("inference", [False, True])
@pytest.mark.parametrize("gradients", [False, True])
def test_gradients_are_as_on_the_calling_thread(inference: bool, gradients: bool) -> None:
    with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
        here = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        assert set(each(range(9), lambda _: (torch.is_inference_mode_enabled(), torch.is_grad_enabled()), name="modes")) == {here}


@pytest.mark.usefixtures("three")
def test_an_error_reaches_the_caller_and_leaves_the_threads_as_they_were() -> None:
    with pytest.raises(ZeroDivisionError):
        list(each([1, 0, 1, 1], lambda piece: 1 / piece, name="errors"))
    assert alone() == 3


@pytest.mark.usefixtures("three")
def test_threads_wait_for_the_caller_and_stop_with_it() -> None:
    begun: list[int] = []
    made = each(range(1000), lambda piece: begun.append(piece) or piece, name="waiting")  # type: ignore[func-returns-value]
    assert next(made) == 0
    made.close()
    assert len(begun) < 10
    assert alone() == 3


def test_a_thread_that_cannot_start_is_an_error_and_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()

    def submit(self: ThreadPoolExecutor, *_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    with pytest.raises(RuntimeError, match="can't start"), lone_threads(2, "none"):
        pass
    assert torch.get_num_threads() == before
