"""Goes back to the generation that was searched before."""

import contextlib

from services.search.index import generations
from services.search.index.client import swap
from services.search.index.stores import Stores
from services.search.index.sync import BATCH_LOCK, NotTakenError, drain, holding
from services.search.index.upkeep import RebuildError, alone, follow, has_write_alias
from services.search.rebuild.audit import AuditError, Progress, repair, unseen


async def roll_back(stores: Stores, progress: Progress = unseen) -> tuple[str | None, str]:
    """Search the previous generation again.

    Returns the index that was searched until now (None if none was) and the one searched from now
    on. Raises RebuildError if there is no previous generation, if its index is not current, or if
    another process rebuilds.
    """
    connection = stores.connection
    async with alone(connection), holding(connection, BATCH_LOCK):
        await follow(stores)
        active = await generations.active(connection)
        previous = await generations.previous(connection)
        if previous is None:
            raise RebuildError("there is no previous generation")
        index = previous.index_name
        if not await has_write_alias(stores.client, previous):
            raise RebuildError(f"{index} is gone or is missing changes")
        # An index that does not take changes may be the reason for going back: go on without them.
        with contextlib.suppress(NotTakenError):
            await drain(stores)
        try:
            audit, _ = await repair(stores, index, progress)
        except AuditError as error:
            raise RebuildError(str(error)) from error
        if audit.differing:
            raise RebuildError(f"{index} is not current: {audit}")
        await swap(stores.client, index)
        await generations.activate(connection, previous.id)
    return active.index_name if active else None, index
