"""The object store that belongs to the database."""

from earmark.storage import sql
from earmark.storage.database import Connection

SQL = sql.load("stores")


async def adopt(connection: Connection, store_id: str) -> str:
    """The id of the database's object store: `store_id` if it had none before."""
    await connection.execute(SQL["adopt"], store_id)
    found: str = await connection.fetchval(SQL["get"])
    return found
