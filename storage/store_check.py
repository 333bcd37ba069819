"""Checks at the start of a service that its object store works, and says in words why not."""

import asyncio
from uuid import uuid4

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, from_url
from obstore.store import ObjectStore as Backend

from earmark.storage.objects import ObjectStoreError, local_folder, one_line

PROBES = "probes"
RETRY_SECONDS = 1.0
ANSWER_SECONDS = 10.0
# What obstore writes if nobody answers, or a proxy on the way does.
_AWAY = ("error sending request", *(f"status code: {status}" for status in (500, 502, 503, 504)))
_VARIABLES = {
    "s3": (
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_REGION, and AWS_ENDPOINT_URL for a store that is"
        " not Amazon's"
    ),
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, the path of a service account's key",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
# What is in the text of an error, and what is wrong then.
_SIGNS = (
    ("NoSuchBucket", "does not exist: create the bucket, or correct EARMARK_OBJECT_STORE"),
    ("BadScheme", "has an endpoint of plain http: set AWS_ALLOW_HTTP=true if that is meant"),
    # The address at which clouds give credentials to their machines: it is asked if no variable gives any.
    ("169.254.169.254", "needs credentials: set {variables}"),
    ("must be specified", "needs credentials: set {variables}"),
    (
        "403 Forbidden",
        "refuses these credentials, or they do not allow to write, read and delete: check {variables}",
    ),
    ("401 Unauthorized", "refuses these credentials: check {variables}"),
    ("PermissionDenied", "refuses these credentials: check {variables}"),
    ("404 Not Found", "does not exist: create the bucket, or correct EARMARK_OBJECT_STORE"),
    ("error sending request", "does not answer: check that it runs, and {variables}"),
)

log = structlog.get_logger(__name__)


async def check_store(url: str, *, deletes: bool, patience_seconds: float = 60.0) -> None:
    """Writes an object, reads it and, if `deletes`, deletes it. Otherwise the next check writes it again.

    Waits up to `patience_seconds` for a store that is away.
    Raises ObjectStoreError, whose message says what to do.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience_seconds
    logged = ""
    while True:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await _probe(_backend(url), deletes=deletes)
        except (BaseError, OSError) as error:
            problem = explain(url, error)
            if not _is_away(error) or loop.time() >= deadline:
                raise ObjectStoreError(problem) from error
        if problem != logged:
            log.warning("object store unavailable; trying again", error=problem, seconds=patience_seconds)
            logged = problem
        await asyncio.sleep(RETRY_SECONDS)


def _backend(url: str) -> Backend:
    """A client that does not retry, since this module does and says so."""
    folder = local_folder(url)
    if folder is None:
        return from_url(url, retry_config={"max_retries": 0})
    folder.mkdir(parents=True, exist_ok=True)
    return LocalStore(folder, automatic_cleanup=True)


async def _probe(backend: Backend, *, deletes: bool) -> None:
    key, data = f"{PROBES}/{uuid4() if deletes else 'kept'}", b"earmark"
    await obstore.put_async(backend, key, data)
    read = bytes(await (await obstore.get_async(backend, key)).bytes_async())
    if deletes:
        await obstore.delete_async(backend, key)
    if read != data:
        raise OSError(f"it returned {read[:20]!r} for an object of {data!r}")


def _is_away(error: Exception) -> bool:
    return isinstance(error, TimeoutError) or any(sign in str(error) for sign in _AWAY)


def explain(url: str, error: Exception) -> str:
    """What is wrong with the object store at `url`, and what to do, in one line."""
    folder, found = local_folder(url), one_line(error)
    if folder is not None:
        return (
            f"the object store's folder {folder} cannot be used: {found}. Make it writable for this user, or"
            " set EARMARK_OBJECT_STORE (or EARMARK_DATA_DIR) to another folder"
        )
    variables = _VARIABLES.get(url.partition("://")[0])
    if variables is None:
        return f"EARMARK_OBJECT_STORE is {url!r}, which is neither a folder nor s3://, gs:// or az://"
    problems = (problem for sign, problem in _SIGNS if sign in str(error))
    problem = next(problems, "does not work: check {variables}").format(variables=variables)
    return f"the object store {url} {problem}. It said: {found}"
