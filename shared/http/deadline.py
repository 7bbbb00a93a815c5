"""The moment after which nobody waits for an answer, told by the gateway as milliseconds left.

It is a duration, so that clocks that differ or jump do not matter.
"""

import asyncio
from contextvars import ContextVar

from shared.errors import GatewayTimeout

# In the time of the event loop; None where no deadline was told.
deadline_var: ContextVar[float | None] = ContextVar("deadline", default=None)


def check_deadline() -> None:
    """GatewayTimeout once the deadline of this request has passed: begin no further statement."""
    deadline = deadline_var.get()
    if deadline is not None and asyncio.get_running_loop().time() >= deadline:
        raise GatewayTimeout("The time for this request is over.")
