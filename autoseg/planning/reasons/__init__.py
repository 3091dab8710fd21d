"""The lines that explain decisions."""
