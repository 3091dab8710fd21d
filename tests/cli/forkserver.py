"""`autoseg` commands as processes of their own, without loading torch anew for each.

One process imports what commands import, then forks for every command it is asked for: the child has its own arguments, folder, environment,
signals and exit code, exactly as one started from a shell. Requests and answers are JSON lines.

- {"run": [arguments], "cwd", "env", "out", "err", "file_size"} starts a command, answers {"pid"}
- {"wait": pid, "seconds"} answers {"code"}: exit code, -9 for a process that was killed, null if it is still running
"""

import gc
import json
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any


def main() -> None:
    import matplotlib.backends.backend_agg  # noqa: F401
    import torch._dynamo  # noqa: F401 - optimizers load it when they are made

    import autoseg.api._demo
    import autoseg.preprocessing.dataset  # noqa: F401
    from autoseg.cli.main import run

    gc.freeze()  # children share what is here as long as they do not look at it
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            answer = {"code": _wait(request["wait"], request["seconds"])}
        else:
            process = os.fork()
            if not process:
                _become(request)
                _end(run)
            answer = {"pid": process}
        print(json.dumps(answer), flush=True)


def _become(request: dict[str, Any]) -> None:
    for number, mode, flags in ((0, os.devnull, os.O_RDONLY), (1, request["out"], os.O_WRONLY), (2, request["err"], os.O_WRONLY)):
        file = os.open(mode, flags | (os.O_CREAT | os.O_TRUNC if number else 0))
        os.dup2(file, number)
    os.chdir(request["cwd"])
    os.environ.update(request["env"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if request["file_size"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["file_size"], request["file_size"]))
    sys.argv = ["autoseg", *request["run"]]


def _end(run: Callable[[], None]) -> None:
    """Run, and leave without taking down what was forked: that takes longer than most commands."""
    code: Any = 0
    try:
        run()
    except SystemExit as stop:
        code = stop.code
    except BaseException:  # noqa: BLE001 - as an interpreter does
        traceback.print_exc()
        code = 70
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


def _wait(process: int, seconds: float) -> int | None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


if __name__ == "__main__":
    main()
