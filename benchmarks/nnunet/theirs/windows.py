"""Where nnU-Net puts its windows: windows.py SHAPES PATCH STEP, both as JSON; prints the corners for each shape."""

import itertools
import json
import sys

from nnunetv2.inference.sliding_window_prediction import compute_steps_for_sliding_window

shapes, patch, step = json.loads(sys.argv[1]), tuple(json.loads(sys.argv[2])), float(sys.argv[3])
print(json.dumps([list(itertools.product(*compute_steps_for_sliding_window(tuple(shape), patch, step))) for shape in shapes]))
