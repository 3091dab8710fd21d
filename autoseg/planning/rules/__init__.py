"""The rules that decide: spacing, topology, patch, coarser grid, normalisation, recipes, cost."""
