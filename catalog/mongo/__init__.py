"""The catalog in a MongoDB database, of a replica set or of one server, which many machines share.

A change of a product is one ``findAndModify`` of its document. The server checks the conditions, which are in
the filter. When a connection breaks, pymongo sends a write again, and the server executes it once
(``MongoConnection.repeated``).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from catalog.mongo.connection import MongoConnection
from catalog.mongo.daily_usage import DAILY_USAGE_INDEXES, MongoDailyUsage
from catalog.mongo.expiry import MongoExpiry
from catalog.mongo.idempotency import IDEMPOTENCY_INDEXES, LiveKeys, MongoIdempotencyKeys
from catalog.mongo.identity import IDENTITY_INDEXES, MongoIdentities
from catalog.mongo.products import PRODUCT_INDEXES, MongoProducts
from catalog.mongo.purges import PURGE_INDEXES, MongoPurges
from catalog.mongo.quotas import MongoQuotas
from catalog.mongo.removal import MongoRemoval
from catalog.mongo.search import remove_obsolete, update_products
from process_local import ProcessLocal

#: The longest that a call takes, in seconds. A request makes up to three calls and is answered within 10 s.
TIMEOUT: Final = 3.0

_INDEXES: Final = {
    "idempotencyKeys": IDEMPOTENCY_INDEXES,
    **IDENTITY_INDEXES,
    "products": PRODUCT_INDEXES,
    "purges": PURGE_INDEXES,
    "usageDays": DAILY_USAGE_INDEXES,
}


class MongoCatalog(
    MongoProducts,
    MongoIdentities,
    MongoRemoval,
    MongoQuotas,
    MongoDailyUsage,
    MongoIdempotencyKeys,
    MongoExpiry,
    MongoPurges,
):
    """A catalog in the database that ``uri`` names; its collections are created at first use.

    Args:
        uri: a connection string, ``mongodb://`` or ``mongodb+srv://``. If it names no database, the database
            is ``vetrina``.
        timeout: the longest that a call takes, in seconds.
        strict_revocation: whether a revocation takes effect at the next request even during a failover: see
            ``MongoConnection.for_authentication``.

    Raises:
        ValueError: the connection string can't be used; the message has no part of it.
    """

    def __init__(self, uri: str, *, timeout: float = TIMEOUT, strict_revocation: bool = False) -> None:
        self._mongo = MongoConnection(
            uri,
            timeout=timeout,
            indexes=_INDEXES,
            finish=update_products,
            strict_revocation=strict_revocation,
        )
        self._live_keys = ProcessLocal(LiveKeys)

    def prepare(self) -> Iterator[str]:
        yield from self._mongo.prepare(remove_obsolete)

    def close(self) -> None:
        self._mongo.close()

    def check(self) -> None:
        with self._mongo.call() as database:
            database.workspaces.find_one({}, {"_id": True})
