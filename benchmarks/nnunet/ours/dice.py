"""Judge without distances and lesions, which the command always measures: dice.py PREDICTIONS REFERENCES OUTPUT."""

import sys

import autoseg

REGIONS = {"WT": (1, 2, 3), "TC": (2, 3), "ET": (3,)}

autoseg.evaluate(sys.argv[1], sys.argv[2], output=sys.argv[3], regions=REGIONS, surface=False)
