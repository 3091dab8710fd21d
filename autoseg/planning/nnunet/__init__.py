"""nnU-Net's own files, read: plans and fingerprints."""
