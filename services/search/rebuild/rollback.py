"""Going back to the generation that was searched before."""

import contextlib

import asyncpg
from elasticsearch import AsyncElasticsearch

from services.search.index.client import swap
from services.search.index.generations import (
    PREVIOUS,
    RebuildError,
    activate,
    alone,
    follow,
)
from services.search.index.sync import BATCH_LOCK, NotTakenError, drain, holding
from services.search.rebuild.audit import AuditError, Progress, repair, unseen


async def roll_back(
    connection: asyncpg.Connection, client: AsyncElasticsearch, progress: Progress = unseen
) -> tuple[str, str]:
    """Search the previous generation again; the index left and the index gone back to.

    RebuildError where there is none, or it is not current.
    """
    async with alone(connection), holding(connection, BATCH_LOCK):
        await follow(connection, client)
        left = await connection.fetchval(
            "SELECT index_name FROM search.generations WHERE state = 'active'"
        )
        previous = await connection.fetchrow(PREVIOUS)
        if previous is None:
            raise RebuildError("there is no previous generation")
        index = previous["index_name"]
        if not await client.indices.exists_alias(index=index, name=previous["write_alias"]):
            raise RebuildError(f"{index} is gone, or changes have passed it by")
        # Whatever is wrong with the index that is searched must not keep it searched.
        with contextlib.suppress(NotTakenError):
            await drain(connection, client)
        try:
            audit, _ = await repair(connection, client, index, progress)
        except AuditError as error:
            raise RebuildError(str(error)) from error
        if audit.differing:
            raise RebuildError(f"{index} is not current: {audit}")
        await swap(client, index)
        await activate(connection, previous["id"])
    return left, index
