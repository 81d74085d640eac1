"""Read pictures and motion vectors from a compressed clip, whatever its codec.

Each codec has a module with one reader function; `READERS` is the list of them.
"""

from collections.abc import Callable

from arseg.codec.clip import DecodedClip
from arseg.codec.h264 import read_h264
from arseg.config import Codec
from arseg.errors import CodecError

READERS: dict[Codec, Callable[[bytes], DecodedClip]] = {"h264": read_h264}
"""Reader of each codec that this version can take motion from."""


def check_readable(codec: Codec) -> None:
    """Check that motion can be read from a codec, before hours are spent on encoding with it.

    Raises
    ------
    CodecError
        If there is no reader.
    """
    if codec not in READERS:
        raise CodecError(
            f"codec {codec} has no motion reader in this version; set codecs: [{', '.join(sorted(READERS))}]"
        )


def read_clip(bitstream: bytes, codec: Codec) -> DecodedClip:
    """Decode a clip.

    Decoding runs in one thread and is deterministic.

    Parameters
    ----------
    bitstream : bytes
        Annex-B byte stream, as `arseg.codec.encode.encode_clip` makes it.
    codec : str
        Its coding standard.

    Returns
    -------
    clip : DecodedClip
        RGB pictures, and motion per 4x4 block, in display order.

    Raises
    ------
    CodecError
        If there is no reader for the codec, or the stream is damaged.
    MotionError
        If the stream's motion does not fit AR-Seg: B-pictures, or references that cannot be told apart.
    """
    check_readable(codec)
    return READERS[codec](bitstream)
