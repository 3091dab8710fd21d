"""The record that lies beside predictions and says what made them; apart from the rest, so that reading it does not load torch."""

RECORD = "predictions.json"
