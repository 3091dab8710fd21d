"""Metrics and the evaluation of folders."""
