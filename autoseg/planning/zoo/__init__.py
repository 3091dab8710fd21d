"""Configurations that come from published recipes."""
