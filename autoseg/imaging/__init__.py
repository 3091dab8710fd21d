"""One scan: voxels and geometry, readers and writers, crop, normalise, resample, components, surfaces."""
