"""Steps at which a test has a process killed or stopped: `SEARCH_FAILPOINT=swapped:SIGKILL`.

Unless that variable is set nothing happens (docs/faults.md).
"""

import os
import signal


def reach(step: str) -> None:
    """Send ourselves the signal, the first time that the step it names is reached."""
    name, _, number = os.environ.get("SEARCH_FAILPOINT", "").partition(":")
    if name == step:
        del os.environ["SEARCH_FAILPOINT"]
        os.kill(os.getpid(), signal.Signals[number])
