"""What the user has: datasets, cases, labels and regions, folder layouts, integrity checks, the synthetic dataset."""
