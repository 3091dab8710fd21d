"""One function a command: paths and plain values in, dataclasses out, nothing printed. `autoseg` itself offers them all."""
