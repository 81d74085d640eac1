"""Reading plain PNG files quickly, each of their checksums compared.

libdeflate decompresses in half the time of zlib. What it gives goes to FFmpeg in a PNG that is not compressed, because
undoing a PNG's filters is a loop over bytes, each of which depends on its neighbours: nothing for NumPy.
"""

import struct

import av
import deflate
import numpy as np
from numpy.typing import NDArray

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLOR_TYPES = {1: 0, 3: 2}
"""Number of channels to PNG's word for it: grey, or RGB."""
NUM_FILTERS = 5
MAX_PIXELS = 1 << 26
"""Of larger images Pillow decides whether they are meant to fill the memory."""


def decode_png(content: bytes, channels: int) -> NDArray[np.uint8] | None:
    """Decode the content of a PNG of 8 bits a channel without palette and interlacing; return None for any other.

    With 1 channel (grey) the pixels have the shape (H, W), with 3 (RGB) (H, W, 3), as Pillow gives them: colour
    profiles and gamma are left alone. A ValueError says that the file is damaged or ends early.
    """
    if len(content) < 33 or content[:16] != SIGNATURE + struct.pack(">I4s", 13, b"IHDR"):
        return None
    width, height, *kind = struct.unpack_from(">IIBBBBB", content, 16)
    if kind != [8, COLOR_TYPES[channels], 0, 0, 0] or not 0 < width * height <= MAX_PIXELS:
        return None
    row_bytes = 1 + channels * width  # the first byte of a row names its filter
    try:
        filtered = deflate.zlib_decompress(_compressed(content), height * row_bytes)
    except deflate.DeflateError as error:
        raise ValueError("its pixels are damaged, or too few or many") from error
    if len(filtered) != height * row_bytes or max(filtered[::row_bytes]) >= NUM_FILTERS:
        raise ValueError("its pixels are damaged, or too few")
    pixels = deflate.zlib_compress(filtered, 0)
    packet = av.Packet(b"".join((content[:33], *_chunk(b"IDAT", pixels), *_chunk(b"IEND", b""))))
    decoder = av.CodecContext.create("png", "r")
    decoder.thread_count = 1  # loaders run in many processes
    (frame,) = decoder.decode(packet)
    return np.asarray(frame.to_ndarray(), np.uint8)


def _compressed(content: bytes) -> bytes:
    """Join what the data chunks hold; all chunks' checksums are compared."""
    view, data, place, name = memoryview(content), [], len(SIGNATURE), b""
    while name != b"IEND":
        if place + 12 > len(content):
            raise ValueError("the file ends early")
        size, name = struct.unpack_from(">I4s", content, place)
        body = view[place + 4 : place + 8 + size]
        place += 12 + size
        if struct.pack(">I", deflate.crc32(body)) != content[place - 4 : place]:
            raise ValueError(f"the checksum of its part {name.decode('latin-1')} is wrong")
        if name == b"IDAT":
            data.append(body[4:])
    return b"".join(data)


def _chunk(name: bytes, content: bytes | bytearray) -> tuple[bytes, bytes, bytes | bytearray, bytes]:
    checksum = deflate.crc32(content, deflate.crc32(name))
    return struct.pack(">I", len(content)), name, content, struct.pack(">I", checksum)
