"""Fingerprint (facts about a dataset) -> plan (decisions): pure functions, and the plan's schema."""
