"""The study as a program: started by the lab's assets, or by hand with the path of a request."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

from dagster_pipes import DAGSTER_PIPES_CONTEXT_ENV_VAR, open_dagster_pipes

from cappuccino.errors import CappuccinoError
from cappuccino.search.coordinator import run_study
from cappuccino.search.request import read_request

PARENT_POLL_S = 1.0


def main(request_file: str, parent: str = "") -> int:
    """Run the study of `request_file`; progress goes to the run's log and to stderr. Ends with process `parent`.

    Without one it ends with whoever its parent is now; one that was killed while this program loaded is not.
    """
    watched = int(parent) if parent else os.getppid()
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()
    with open_dagster_pipes() as pipes:

        def say(line: str) -> None:
            sys.stderr.write(line + "\n")
            sys.stderr.flush()
            pipes.log.info(line)

        try:
            summary = run_study(read_request(Path(request_file)), on_progress=say)
        except CappuccinoError as error:
            say(f"error: {error}")
            # The asset raises it again, in its own class, for the run to show.
            pipes.report_custom_message({"error": str(error), "class": type(error).__name__})
            return 0 if DAGSTER_PIPES_CONTEXT_ENV_VAR in os.environ else error.exit_code
        pipes.report_custom_message(summary.as_metadata())
    return 0


def _end_with_parent(parent: int) -> None:
    """End this process at once when its parent is gone, killed say; the study goes on when it is started again."""
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_S)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
