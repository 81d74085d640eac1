"""Read frames and motion vectors from compressed video, whatever its codec."""

from collections.abc import Callable, Generator, Iterator
from importlib.metadata import version
from itertools import islice

import av

from arseg.codec.exported import EXPORTED_STANDARDS, read_exported
from arseg.codec.frame import DecodedClip, DecodedFrame, collect_clip
from arseg.codec.stream import PacketStream, split_bitstream
from arseg.codecs import codecs, find_codec
from arseg.errors import CodecError

Reader = Callable[[PacketStream], Iterator[DecodedFrame]]


def find_reader(codec: str) -> Reader | None:
    """Return what reads a codec, by its name or FFmpeg's name of its standard; None if nothing can."""
    if found := find_codec(codec):
        return found.reader
    return read_exported if codec in EXPORTED_STANDARDS else None


def check_readable(codec: str) -> None:
    """Make sure that motion can be read from a codec, before hours are spent on encoding with it.

    Raises CodecError if there is no reader, or what it needs cannot be built.
    """
    _known_reader(codec)
    if found := find_codec(codec):
        found.make_ready()


def describe_decoder(codec: str) -> str:
    """Return versions of what decodes a codec, for example ``FFmpeg 9.0.2 (PyAV 18.0.0)``.

    Raises CodecError if what reads its motion is not there and cannot be built.
    """
    found = find_codec(codec)
    reader = found.make_ready() if found else ""
    return f"FFmpeg {av.ffmpeg_version_info} (PyAV {version('av')})" + (f", {reader}" if reader else "")


def read_frames(stream: PacketStream) -> Generator[DecodedFrame, None, None]:
    """Yield the frames of a stream in display order, each as soon as it is complete.

    Decoding runs in one thread (and, for HEVC, in one process beside it) and is deterministic. It goes on where the
    stream is damaged: frames that may be wrong are marked, and `stream.damage` counts them and those that are lost.

    Raises
    ------
    CodecError
        If there is no reader for the codec, or the stream holds no frame.
    MotionError
        If the decoder gives no motion.
    """
    yield from _read(stream.codec, stream)


def read_clip(bitstream: bytes, codec: str, length: int | None = None) -> DecodedClip:
    """Return the clip of a byte stream from `arseg.codec.encode.encode_clip`, or its first `length` frames.

    Raises
    ------
    CodecError
        If there is no reader for the codec, or the stream is damaged or holds no frame.
    MotionError
        If the stream's motion does not fit AR-Seg: B-frames, or references that cannot be distinguished.
    """
    found = find_codec(codec)
    stream = split_bitstream(bitstream, found.standard if found else codec)
    return collect_clip(islice(_whole(codec, stream), length))


def _read(codec: str, stream: PacketStream) -> Iterator[DecodedFrame]:
    for frame in _known_reader(codec)(stream):
        stream.show(frame.pixels, is_damaged=frame.is_damaged)
        yield frame
    stream.finish()


def _whole(codec: str, stream: PacketStream) -> Iterator[DecodedFrame]:
    """Yield the frames of a stream that is not damaged."""
    for frame in _read(codec, stream):
        if frame.is_damaged:
            break
        yield frame
    if stream.damage.num_places:
        raise CodecError(f"the stream is damaged: {stream.damage.messages[0]}. Encode the clip again")


def _known_reader(codec: str) -> Reader:
    if reader := find_reader(codec):
        return reader
    known = {codecs.get(name).standard for name in codecs.names()} | {*EXPORTED_STANDARDS}
    raise CodecError(
        f"motion vectors of {codec} cannot be read; they can of {', '.join(sorted(known))}. Encode the video "
        "again with one of these"
    )
