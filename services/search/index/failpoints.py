"""Named steps at which a test can kill or stop a process: `SEARCH_FAILPOINT=swapped:SIGKILL`.

Nothing happens unless that variable is set (docs/faults.md).
"""

import os
import signal


def reach(step: str) -> None:
    """If SEARCH_FAILPOINT names `step`, send this process the signal that it gives, once."""
    name, _, number = os.environ.get("SEARCH_FAILPOINT", "").partition(":")
    if name == step:
        del os.environ["SEARCH_FAILPOINT"]
        os.kill(os.getpid(), signal.Signals[number])
