"""The sound of a video for one that is made of it: copied where players expect its codec, otherwise encoded as AAC."""

import logging
from collections.abc import Iterator

import av.error
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.codec import Codec
from av.container import InputContainer, OutputContainer
from av.packet import Packet

LOG = logging.getLogger(__name__)

EVERYWHERE = {"aac", "mp3", "ac3", "eac3", "alac"}

COPIED = {
    "mp4": EVERYWHERE | {"flac", "opus"},
    "mov": EVERYWHERE | {"pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be"},
}
"""What players look for in a container, where FFmpeg would put more into it."""

AAC_RATE = 48_000
"""Samples per second where AAC does not have those of the source."""


class Sound:
    """The first audio stream of a video, written into another one as far as its frames have come.

    Parameters
    ----------
    source : InputContainer
        The video that is heard, opened for nothing else.
    output : OutputContainer
        What it is written into; the stream is added here, before anything is written.
    start : float
        Time in `source`, in seconds, that is the beginning of `output`.

    Raises
    ------
    av.error.FFmpegError, ValueError
        If FFmpeg can neither copy nor decode the stream.
    """

    def __init__(self, source: InputContainer, output: OutputContainer, start: float) -> None:
        stream = source.streams.audio[0]
        codec = stream.codec_context.codec.canonical_name
        self._output, self._start = output, start
        self._copies = codec in COPIED.get(output.format.name, output.supported_codecs)
        self._stream = output.add_stream_from_template(stream) if self._copies else _add_aac(output, stream)
        packets = _packets(source, stream)
        self._items = _pieces(packets, None if self._copies else stream)
        self._next: Packet | AudioFrame | None = next(self._items, None)
        self._seconds = -1.0

    def write_until(self, seconds: float, skipped: float = 0.0) -> None:
        """Write what begins before `seconds` after the start, `skipped` seconds earlier than the source has it."""
        while self._next is not None and (begin := self._begin(self._next)) < seconds:
            if begin - skipped > self._seconds and begin >= skipped:  # otherwise the clock of the source went back
                self._seconds = begin - skipped
                self._write(self._next)
            self._next = next(self._items, None)

    def finish(self) -> None:
        """Write what the encoder holds."""
        if not self._copies:
            self._output.mux(self._stream.encode(None))

    def _begin(self, item: Packet | AudioFrame) -> float:
        return float((item.pts or 0) * (item.time_base or 0)) - self._start

    def _write(self, item: Packet | AudioFrame) -> None:
        item.pts = round(self._seconds / (item.time_base or 1))
        if isinstance(item, AudioFrame):
            self._output.mux(self._stream.encode(item))
        else:
            item.dts, item.stream = item.pts, self._stream
            self._output.mux(item)


def _add_aac(output: OutputContainer, stream: AudioStream) -> AudioStream:
    rates = Codec("aac", "w").audio_rates or []
    rate = stream.codec_context.sample_rate
    encoded = output.add_stream("aac", rate=rate if rate in rates else AAC_RATE)
    encoded.codec_context.layout = "mono" if stream.codec_context.channels == 1 else "stereo"
    return encoded


def _packets(source: InputContainer, stream: AudioStream) -> Iterator[Packet]:
    """Yield packets with times up to where the source cannot be read."""
    try:
        for packet in source.demux(stream):
            if packet.pts is not None and packet.size:
                yield packet
    except (av.error.FFmpegError, IndexError) as error:  # PyAV's answer to a stream that appears late
        LOG.warning("%s: the sound ends early: %s", source.name, error)


def _pieces(packets: Iterator[Packet], decoder: AudioStream | None) -> Iterator[Packet | AudioFrame]:
    """Yield packets as they are, or decoded; then what is damaged, or differs in kind from the first, is left out."""
    if decoder is None:
        yield from packets
        return
    first = None
    for packet in packets:
        try:
            for frame in decoder.decode(packet):
                kind = frame.format.name, frame.layout.name, frame.sample_rate
                first = first or kind
                if frame.pts is not None and kind == first:
                    yield frame
        except av.error.FFmpegError as error:
            LOG.debug("a piece of the sound is left out: %s", error.strerror)
