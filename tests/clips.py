"""Audio files for tests, of every format that an encoder is here for, made by PyAV."""

import io
from collections.abc import Iterator

import av
import numpy as np

LAYOUTS = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
FRAME = 1024
TOTAL_AT = 18  # in a FLAC file, with 20 bits of rate, 3 of channels and 5 of depth in front of the 36


def written(
    audio: np.ndarray,
    container: str,
    codec: str,
    rate: int,
    *,
    bit_rate: int | None = None,
    sample_format: str | None = None,
    with_video: bool = False,
    start: int = 0,
    gap: tuple[int, int] | None = None,
    **options: str,
) -> bytes:
    """Encodes (samples, channels) float audio. `options` are those of the container.

    start: the first timestamp. gap: a sample, and how many samples later the recorder went on from there.
    """
    buffer = io.BytesIO()
    buffer.name = "clip"
    with av.open(buffer, "w", format=container, container_options=options) as output:
        video = output.add_stream("mpeg4", rate=10, width=64, height=64) if with_video else None
        stream = output.add_stream(codec, rate=rate, layout=LAYOUTS[audio.shape[1]])
        if bit_rate is not None:
            stream.bit_rate = bit_rate
        if sample_format is not None:
            stream.format = sample_format
        for frame in frames(audio, stream, start, gap):
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if video is not None:
            for number in range(10 * len(audio) // rate):
                picture = av.VideoFrame.from_ndarray(np.full((64, 64, 3), number, np.uint8), "rgb24")
                output.mux(video.encode(picture))
            output.mux(video.encode(None))
    return buffer.getvalue()


def frames(
    audio: np.ndarray, stream: av.AudioStream, start: int, gap: tuple[int, int] | None
) -> Iterator[av.AudioFrame]:
    """Frames in the encoder's own format and of its own length."""
    context = stream.codec_context
    if not context.is_open:
        context.open()
    fifo = av.AudioFifo()
    resampler = av.AudioResampler(context.format, context.layout, context.rate)
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio.T, np.float32), "fltp", context.layout.name)
    frame.sample_rate, frame.pts = context.rate, None
    for part in (*resampler.resample(frame), *resampler.resample(None)):
        fifo.write(part)
    position = start
    while (part := fifo.read(context.frame_size or FRAME, partial=True)) is not None:
        if gap is not None and position - start >= gap[0]:
            position, gap = position + gap[1], None
        part.pts = position
        position += part.samples
        yield part


def remuxed(data: bytes, source: str, container: str, **options: str) -> bytes:
    """The same packets in another container."""
    buffer = io.BytesIO()
    buffer.name = "clip"
    with (
        av.open(io.BytesIO(data), format=source) as taken,
        av.open(buffer, "w", format=container, container_options=options) as output,
    ):
        stream = output.add_stream_from_template(taken.streams.audio[0])
        for packet in taken.demux(taken.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
    return buffer.getvalue()


def with_total(flac: bytes, total: int) -> bytes:
    """The FLAC file with another number of samples in its header."""
    at = flac.index(b"fLaC") + TOTAL_AT
    fields = int.from_bytes(flac[at : at + 8])
    return flac[:at] + (fields >> 36 << 36 | total).to_bytes(8) + flac[at + 8 :]
