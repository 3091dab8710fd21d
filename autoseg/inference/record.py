"""Records that lie beside predictions and say what made them; apart from the rest, so that reading one does not load torch."""

RECORD = "predictions.json"  # of models
ENSEMBLE_RECORD = "ensemble.json"  # of predictions made elsewhere
