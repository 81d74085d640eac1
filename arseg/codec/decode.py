"""Read pictures and motion vectors from compressed video, whatever its codec."""

from collections.abc import Callable, Iterator
from itertools import islice

from arseg.codec.clip import DecodedClip, collect_clip
from arseg.codec.exported import EXPORTED_CODECS, read_exported
from arseg.codec.hevc import read_hevc
from arseg.codec.native_build import ensure_native_reader
from arseg.codec.picture import DecodedPicture
from arseg.codec.stream import PacketStream, split_bitstream
from arseg.errors import CodecError

READERS: dict[str, Callable[[PacketStream], Iterator[DecodedPicture]]] = {
    "hevc": read_hevc,
    **dict.fromkeys(EXPORTED_CODECS, read_exported),
}
"""Reader of each coding standard that motion can be taken from, by FFmpeg's name of it."""


def check_readable(codec: str) -> None:
    """Make sure that motion can be read from a codec, before hours are spent on encoding with it.

    Raises
    ------
    CodecError
        If there is no reader, or HEVC's cannot be built.
    """
    if codec not in READERS:
        raise CodecError(
            f"motion vectors of {codec} cannot be read; they can of {', '.join(sorted(READERS))}. Encode the video "
            "again with one of these"
        )
    if codec == "hevc":
        ensure_native_reader()


def read_pictures(stream: PacketStream) -> Iterator[DecodedPicture]:
    """Decode a stream picture by picture.

    Decoding runs in one thread (and, for HEVC, in one process beside it) and is deterministic.

    Parameters
    ----------
    stream : PacketStream
        From `arseg.codec.stream.open_video` or `arseg.codec.stream.split_bitstream`.

    Yields
    ------
    picture : DecodedPicture
        In display order, each as soon as it is complete.

    Raises
    ------
    CodecError
        If there is no reader for the codec, or the stream is damaged or holds no picture.
    MotionError
        If the decoder gives no motion.
    """
    check_readable(stream.codec)
    empty = True
    for picture in READERS[stream.codec](stream):
        empty = False
        yield picture
    if empty:
        raise CodecError(f"the {stream.codec} stream holds no picture. Name, or encode, a video that has some")


def read_clip(bitstream: bytes, codec: str, length: int | None = None) -> DecodedClip:
    """Decode a clip.

    Parameters
    ----------
    bitstream : bytes
        Annex-B byte stream, as `arseg.codec.encode.encode_clip` makes it.
    codec : str
        Its coding standard.
    length : int, optional
        How many pictures to decode; all by default.

    Returns
    -------
    clip : DecodedClip
        Pictures, and motion per 4x4 block, in display order.

    Raises
    ------
    CodecError
        If there is no reader for the codec, or the stream is damaged or holds no picture.
    MotionError
        If the stream's motion does not fit AR-Seg: B-pictures, or references that cannot be distinguished.
    """
    return collect_clip(islice(read_pictures(split_bitstream(bitstream, codec)), length))
