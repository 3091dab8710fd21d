"""The plan's schema: its blocks, what inherits what, faults in words, remarks, and the published JSON Schema."""
