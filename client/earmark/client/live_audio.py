"""Live audio as both clients, sync and asyncio, send it: what to keep, and from where to go on.

None of this makes a call. A broken stream of samples goes on from before what is judged, and one of a file
from the file's beginning, so that the detections are those of an unbroken one.
"""

import threading

from earmark.v1.detection_pb2 import PCM_ENCODING_F32LE, Detection, DetectionConfig, LiveAudio
from earmark.v1.detection_service_pb2 import DetectRequest, DetectResponse

CONTEXT_MS = 20_000  # how much audio before what is judged is sent again
LONGEST_KEPT_MS = 300_000  # an artifact that lasts longer, and whose stream breaks, begins later
# Of a file, which can be decoded from its beginning alone: hours of compressed speech.
MOST_KEPT_BYTES = 64 << 20
_PART_BYTES = 1 << 16


class LiveTail:
    """The audio that may have to be sent again, and the detections that may come again."""

    def __init__(self, model_id: str, pcm: LiveAudio.Pcm | None, config: DetectionConfig | None) -> None:
        self._model_id = model_id
        self._pcm = pcm
        self._config = config
        self._second = 0 if pcm is None else _bytes_of_second(pcm)
        self._kept = bytearray()
        self._first_s = 0  # where what is kept of samples begins
        self._dropped = 0  # bytes before what is kept
        self._judged_ms = 0
        self._silent_channels: list[int] = []
        self._given: set[tuple[int, int, str]] = set()  # that begin at judged_ms or later
        # A thread may still make the requests of a call that has ended.
        self._lock = threading.Lock()
        self.has_all = False
        """Whether all audio was appended."""
        self.complete = False
        """Whether all detections were received."""

    def start(self) -> tuple[DetectRequest, int]:
        """Return the first request of a stream, and the position in bytes from which it sends."""
        with self._lock:
            live = LiveAudio(pcm=self._pcm)
            if self._first_s:
                live.start_ms = self._first_s * 1000
                live.silent_channels.extend(self._silent_channels)
            start = DetectRequest.Start(model_id=self._model_id, config=self._config, live=live)
            return DetectRequest(start=start), self._dropped

    @property
    def can_go_on(self) -> bool:
        """Whether what is kept is enough for another stream."""
        return self._pcm is not None or self._dropped == 0

    def append(self, data: bytes) -> None:
        """Keep the next bytes of the audio. All bytes before them are on their way."""
        with self._lock:
            if self._pcm is None and self._dropped + len(self._kept) + len(data) > MOST_KEPT_BYTES:
                self._drop(len(self._kept))
            self._kept += data

    def part(self, position: int) -> bytes:
        """Return bytes of the audio from a position on; none if there are none yet.

        Raises EOFError for a file whose bytes there were dropped: the call that asks was too late.
        """
        with self._lock:
            if position < self._dropped and self._pcm is None:
                raise EOFError(f"the file has more than {MOST_KEPT_BYTES} bytes, so they were not kept")
            first = max(0, position - self._dropped)
            return bytes(self._kept[first : first + _PART_BYTES])

    def take(self, response: DetectResponse) -> Detection | None:
        """Take a response, and return the detection in it unless it was returned before."""
        with self._lock:
            if response.HasField("heartbeat"):
                self._judge(response)
            self.complete = self.complete or response.HasField("summary")
            found = response.detection
            key = found.start_ms, found.end_ms, found.artifact_type
            if not response.HasField("detection") or found.start_ms < self._judged_ms or key in self._given:
                return None
            self._given.add(key)
            return found

    def _judge(self, response: DetectResponse) -> None:
        heartbeat = response.heartbeat
        if heartbeat.judged_until_ms < self._judged_ms:  # of audio that was sent again
            return
        self._judged_ms = heartbeat.judged_until_ms
        self._silent_channels = list(heartbeat.silent_channels)
        self._given = {found for found in self._given if found[0] >= self._judged_ms}
        if self._second:
            kept_s = -(-len(self._kept) // self._second)
            first_s = max(
                self._first_s,
                (self._judged_ms - CONTEXT_MS) // 1000,
                self._first_s + kept_s - LONGEST_KEPT_MS // 1000,
            )
            self._drop((first_s - self._first_s) * self._second)
            self._first_s = first_s

    def _drop(self, count: int) -> None:
        del self._kept[:count]
        self._dropped += count


def _bytes_of_second(pcm: LiveAudio.Pcm) -> int:
    return pcm.sample_rate_hz * pcm.channels * (4 if pcm.encoding == PCM_ENCODING_F32LE else 2)
