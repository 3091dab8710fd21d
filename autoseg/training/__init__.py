"""Batches, augmentation, losses, schedule, the trainer, checkpoints, the run's log."""
