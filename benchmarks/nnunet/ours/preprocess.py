"""Make all cases of a dataset ready for one configuration: preprocess.py DATASET PLAN CONFIGURATION OUTPUT."""

import sys
from pathlib import Path

from autoseg.data.layouts import open_dataset
from autoseg.planning.plan import read_plan
from autoseg.preprocessing.dataset import preprocess
from autoseg.preprocessing.store import CaseStore

dataset, plan, name, output = open_dataset(Path(sys.argv[1])), read_plan(Path(sys.argv[2])), sys.argv[3], Path(sys.argv[4])
preprocess(dataset.cases, plan, {name: CaseStore.of(output / name, plan, plan.configuration(name))})
