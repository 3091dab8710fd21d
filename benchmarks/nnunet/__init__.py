"""The parts of `benchmarks/vs_nnunet.py`."""
