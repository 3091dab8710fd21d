"""Sliding window, predictor, ensembling, export; the model folder."""
