"""A watch of audio files resumes by cursor, and `wait_until_ready` returns when none is in processing."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest

from earmark.client import FileEvent
from earmark.v1 import audio_service_pb2 as audio
from earmark.v1 import audio_service_pb2_grpc
from tests.client.both import Reach, Reached
from tests.client.small_gateway import QUICK, cut, early_end, unavailable

PENDING, READY = audio.AUDIO_PROCESSING_STATUS_PENDING, audio.AUDIO_PROCESSING_STATUS_READY
FAILED = audio.AUDIO_PROCESSING_STATUS_FAILED
DELETED = audio.AUDIO_FILE_EVENT_KIND_DELETED


class Files(audio_service_pb2_grpc.AudioServiceServicer):
    """Sends two events after the requested cursor. Streams before that of event `last` end with `ending`."""

    def __init__(self, ending: Callable[[grpc.ServicerContext], None], last: int = 1000) -> None:
        self.ending, self.last = ending, last
        self.asked: list[audio.WatchAudioFilesRequest] = []
        self.lists: list[list[list[int]]] = [[[]]]

    def WatchAudioFiles(self, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        self.asked.append(request)
        after = int(request.after_cursor or 0)
        if not (request.after_cursor or request.from_start):
            beat = audio.WatchAudioFilesResponse.Heartbeat(in_progress_count=1)
            yield audio.WatchAudioFilesResponse(heartbeat=beat, cursor=str(after))
        for number in range(after + 1, min(after + 2, self.last) + 1):
            event = audio.AudioFileEvent(audio_file_id=str(number))
            yield audio.WatchAudioFilesResponse(event=event, cursor=str(number))
        if after + 2 < self.last:
            self.ending(context)

    def ListAudioFiles(self, request: Any, _context: grpc.ServicerContext) -> Any:
        """Sends the pages of the first of `lists`, and then those of the next."""
        page = int(request.page_token or 0)
        pages = self.lists[0]
        files = [audio.AudioFile(id=str(page), processing_status=status) for status in pages[page]]
        if page + 1 < len(pages):
            return audio.ListAudioFilesResponse(audio_files=files, next_page_token=str(page + 1))
        self.lists = self.lists[1:]
        return audio.ListAudioFilesResponse(audio_files=files)


def events(reached: Reached, count: int | None, **arguments: Any) -> list[FileEvent]:
    """The first `count` events of a watch, or all."""
    return reached.items(lambda api, client: api.watch_audio_files(client, backoff=QUICK, **arguments), count)


def ready(reached: Reached) -> list[audio.AudioFile]:
    """The files for which the client has waited."""
    return reached.result(lambda api, client: api.wait_until_ready(client, "dataset", backoff=QUICK))


@pytest.mark.parametrize("ending", [unavailable, cut, early_end])
def test_a_broken_stream_is_resumed_by_cursor_with_the_filter(reach: Reach, ending: Any) -> None:
    files = Files(ending)
    filters = {"dataset_ids": ["d"], "kinds": [DELETED], "processing_statuses": [READY]}

    received = events(reach(files), 5, from_start=True, **{name: iter(f) for name, f in filters.items()})

    assert [event.cursor for event in received] == ["1", "2", "3", "4", "5"]
    assert [event.event.audio_file_id for event in received] == ["1", "2", "3", "4", "5"]
    starts = [(request.from_start, request.after_cursor) for request in files.asked]
    assert starts == [(True, ""), (False, "2"), (False, "4")]
    for request in files.asked:
        assert (list(request.dataset_ids), list(request.kinds)) == (["d"], [DELETED])
        assert (list(request.processing_statuses), request.until_idle) == ([READY], False)


def test_a_watch_until_idle_ends_with_its_stream(reach: Reach) -> None:
    files = Files(unavailable, last=3)

    assert [event.cursor for event in events(reach(files), None, until_idle=True)] == ["1", "2", "3"]
    assert [request.until_idle for request in files.asked] == [True, True]


def test_all_pages_of_files_are_returned_after_breaks(reach: Reach) -> None:
    files = Files(unavailable, last=4)
    files.lists = [[[READY, FAILED], [READY]]]

    processed = ready(reach(files))

    assert [(file.id, file.processing_status) for file in processed] == [
        ("0", READY),
        ("0", FAILED),
        ("1", READY),
    ]
    assert [list(request.dataset_ids) for request in files.asked] == [["dataset"], ["dataset"]]


def test_a_file_uploaded_meanwhile_is_waited_for_too(reach: Reach) -> None:
    files = Files(unavailable, last=1)
    files.lists = [[[READY, PENDING]], [[READY, READY]]]

    processed = ready(reach(files))

    assert [file.processing_status for file in processed] == [READY, READY]
    assert len(files.asked) == 2


def test_a_dataset_without_files_is_ready_at_once(reach: Reach) -> None:
    assert ready(reach(Files(unavailable, last=0))) == []
