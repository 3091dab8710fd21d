"""`python -m autoseg` is `autoseg`."""

from autoseg.cli.main import run

if __name__ == "__main__":
    run()
