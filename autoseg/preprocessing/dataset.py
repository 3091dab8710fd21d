"""All cases of a dataset made ready for one configuration or several: in threads, resumable, cases that are there are passed over.

- A case is read once for all configurations that lack it.
- Threads suffice: decoding, resampling and most of compressing release the interpreter's lock. One worker a core; none starts threads of its own.
- One case a worker is in memory at a time.
"""

import os
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import as_completed

from autoseg.data.dataset import Case
from autoseg.planning.plan import Plan
from autoseg.preprocessing.case import crop_case, pack, way
from autoseg.preprocessing.placement import is_whole
from autoseg.preprocessing.source import naming, read_scan, read_segmentation
from autoseg.preprocessing.store import CaseStore
from autoseg.progress import Progress, silent
from autoseg.threads import end, lone_threads


def preprocess(
    cases: Sequence[Case],
    plan: Plan,
    stores: Mapping[str, CaseStore],
    *,
    workers: int | None = None,
    progress: Progress = silent,
    stage: str = "preprocess",
) -> dict[str, int]:
    """Make every case ready that is not yet.

    Parameters
    ----------
    cases : with labels
    stores : configuration of the plan -> where its ready cases lie
    workers : threads; by default one a core

    Returns
    -------
    configuration -> how many cases were made for it; the others were there already

    Raises
    ------
    AutosegError
        a file cannot be read or written, or does not fit the plan; names case and file
    """
    lacking = {case.name: [name for name, store in stores.items() if not store.has(case)] for case in cases}
    missing = [case for case in cases if lacking[case.name]]
    make_each(
        missing, lambda case: _make_ready(case, plan, {name: stores[name] for name in lacking[case.name]}), len(cases), workers=workers,
        progress=progress, stage=stage,
    )  # fmt: skip
    return {name: sum(name in names for names in lacking.values()) for name in stores}


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
    pool = lone_threads(workers or os.cpu_count() or 1)
    futures = {pool.submit(make, case): case for case in missing}
    try:
        for future in as_completed(futures):
            future.result()
            done += 1
            progress(stage, done, total, futures[future].name)
    finally:
        end(list(futures))


def _make_ready(case: Case, plan: Plan, stores: Mapping[str, CaseStore]) -> None:
    with naming(case):
        scan = read_scan(case, plan)
        labels = read_segmentation(case, plan, scan.geometry)
    whole = [name for name in stores if is_whole(plan.configuration(name))]
    made: dict[Hashable, CaseStore] = {}
    for names in (whole, [name for name in stores if name not in whole]):
        if not names:
            continue
        with naming(case):
            cropped = crop_case(scan, labels, plan, whole=names is whole)
        if names is not whole:
            del scan, labels  # much larger than what is left of them
        for name in names:
            configuration, store = plan.configuration(name), stores[name]
            how = way(cropped, configuration)
            if how in made:
                store.put_same(case, made[how])
                continue
            with naming(case):
                packed = pack(cropped, plan, configuration)
            store.put(case, packed)
            made[how] = store
        del cropped
