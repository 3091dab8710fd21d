"""All cases of a dataset made ready for one configuration: in threads, resumable, cases that are there are passed over.

- Threads suffice: decoding, resampling and compressing all release the interpreter's lock.
- One case a worker is in memory at a time.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from autoseg.data.dataset import Case
from autoseg.planning.plan import Configuration, Plan
from autoseg.preprocessing.case import prepare
from autoseg.preprocessing.source import naming, read_scan, read_segmentation
from autoseg.preprocessing.store import CaseStore
from autoseg.progress import Progress, silent


def preprocess(
    cases: Sequence[Case],
    plan: Plan,
    configuration: Configuration,
    store: CaseStore,
    *,
    workers: int | None = None,
    progress: Progress = silent,
    stage: str = "preprocess",
) -> int:
    """Make every case ready that is not yet.

    Parameters
    ----------
    cases : with labels
    store : where ready cases lie
    workers : threads; by default one a core

    Returns
    -------
    how many cases were made; the others were there already

    Raises
    ------
    AutosegError
        a file cannot be read or written, or does not fit the plan; names case and file
    """
    missing = [case for case in cases if not store.has(case)]
    make_each(missing, lambda case: _make_ready(case, plan, configuration, store), len(cases), workers=workers, progress=progress, stage=stage)
    return len(missing)


def make_each(missing: Sequence[Case], make: Callable[[Case], None], total: int, *, workers: int | None, progress: Progress, stage: str) -> None:
    """Do something for each case, in threads; the first error stops it and is raised.

    Parameters
    ----------
    missing : the cases
    make : what to do
    total : cases in all: those that are not missing are told to `progress` as done
    workers : threads; by default one a core
    """
    done = total - len(missing)
    progress(stage, done, total)
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        futures = {pool.submit(make, case): case for case in missing}
        try:
            for future in as_completed(futures):
                future.result()
                done += 1
                progress(stage, done, total, futures[future].name)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _make_ready(case: Case, plan: Plan, configuration: Configuration, store: CaseStore) -> None:
    with naming(case):
        image = read_scan(case, plan)
        ready = prepare(image, read_segmentation(case, plan, image.geometry), plan, configuration)
    store.put(case, ready)
