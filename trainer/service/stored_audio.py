"""The way of a stored file: fetched, decoded in the pool, and its features and its audio stored."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

import structlog

from earmark.storage.objects import ObjectNotFoundError
from earmark.trainer.failures import FailureKind, kind_of
from earmark.trainer.service.decoding import AudioFiles
from earmark.trainer.service.errors import CallError
from earmark.trainer.service.executor import AudioEvent, StoredAudio
from earmark.trainer.service.runtime import Runtime
from earmark.trainer.service.scratch import write_file
from earmark.trainer.workers.wire import Decoded, Failed, Featured

log = structlog.get_logger()


async def process_stored(runtime: Runtime, file: StoredAudio) -> AsyncGenerator[AudioEvent]:
    """See Executor.process_audio."""
    with runtime.scratch.folder() as folder:
        files = AudioFiles(folder)
        objects = await asyncio.to_thread(runtime.objects.identified)

        async def fetch() -> None:
            await write_file(files.source, objects.stream(file.source))

        async with AsyncExitStack() as stack:
            try:
                await fetch()
                decoding = await stack.enter_async_context(
                    runtime.audio_pool.decoding_stored(files, file.caller, fetch)
                )
            except ObjectNotFoundError:
                yield Failed("STORED_DATA_DAMAGED", "its bytes are gone: upload the file again")
                return
            outcome: Decoded | Featured | Failed = decoding.decoded
            if isinstance(outcome, Decoded):
                if file.audio:
                    await objects.put_async(file.audio, files.audio)
                yield outcome
                outcome = await decoding.featured()
        if isinstance(outcome, Failed):
            if kind_of(outcome.reason) is not FailureKind.DATA:
                raise CallError(outcome.reason, outcome.message)
            log.info("an audio file is unusable", audio_file_id=file.audio_file_id, error=outcome.message)
        else:
            await objects.put_async(file.features, files.features)
        yield outcome
