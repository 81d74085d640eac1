"""Read HEVC: motion from the program ``hevc-motion``, which holds libde265, pixels from FFmpeg's decoder.

FFmpeg exports no HEVC motion vectors. libde265 keeps them, but not every stream's pixels come out of it right,
and it is written for streams that are whole: so it reads motion only, in a process of its own that a damaged stream
may crash, while FFmpeg decodes the same access unit here. Frames of both are joined in display order.
"""

import signal
import struct
import subprocess
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Literal, cast

import av.error
import numpy as np
from av.video.frame import VideoFrame

from arseg.codec.bitstream import nal_units
from arseg.codec.frame import NO_REFERENCE, DecodedFrame, FrameMotion
from arseg.codec.native_build import ensure_native_reader
from arseg.codec.stream import PacketStream, fresh_decoder
from arseg.errors import CodecError

SIZE = struct.Struct("=I")
COUNT = struct.Struct("=i")
HEADER = struct.Struct("=8i")
"""Fields of the protocol that ``native/main.cpp`` describes."""

MAX_LEAD = 32
"""No decoder may be so many frames ahead of the other: HEVC reorders 16 at most."""

NAL_SUFFIX_SEI = 40
PICTURE_HASH = 132
"""Kinds of unit and of message that carry a frame's hash (H.265, 7.4.2.2 and D.2.1)."""

HINT = "The stream is damaged, or of a kind that is not read; encode it again"


def read_hevc(stream: PacketStream) -> Iterator[DecodedFrame]:
    """Decode an HEVC stream; see `arseg.codec.decode.read_frames`."""
    # A stream may carry hashes of its frames: they are checked, too.
    decoder = fresh_decoder(stream, err_detect="explode+crccheck")
    frames: deque[VideoFrame] = deque()
    motions: deque[FrameMotion] = deque()
    index, hashed = 0, False
    with MotionProcess(_program()) as process:
        for packet in chain(stream.packets, [None]):
            unit = b"" if packet is None else bytes(packet)
            if hashed and unit and not _has_hash(unit):
                raise CodecError(f"HEVC: frames carry hashes, but one after frame {index} lacks its own. {HINT}")
            hashed = _has_hash(unit)
            process.send(unit)
            try:
                frames += decoder.decode(packet)
            except av.error.FFmpegError as error:
                raise CodecError(f"HEVC: FFmpeg says: {error.strerror}. {HINT}") from error
            motions += process.receive()
            while frames and motions:
                yield _join(index, frames.popleft(), motions.popleft())
                index += 1
            if max(len(frames), len(motions)) > MAX_LEAD:
                break
    if frames or motions:
        raise CodecError(
            f"HEVC: after frame {index}, FFmpeg shows {len(frames)} more and libde265 {len(motions)}. {HINT}"
        )


class MotionProcess:
    """A running ``hevc-motion``, which ends with the ``with`` block.

    Parameters
    ----------
    program : Path
        The executable file.
    """

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self._process.stdin
        assert self._process.stdout
        self._requests, self._answers = self._process.stdin, self._process.stdout

    def __enter__(self) -> "MotionProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._answers.close()
        with suppress(BrokenPipeError):  # what was not yet sent has no reader
            self._requests.close()

    def send(self, unit: bytes) -> None:
        """Hand over one access unit, or nothing to end the stream. Each must be followed by `receive`."""
        with suppress(BrokenPipeError):  # `receive` finds out why
            self._requests.write(SIZE.pack(len(unit)) + unit)
            self._requests.flush()

    def receive(self) -> list[FrameMotion]:
        """Return the motion of the frames that are complete since the last call, in display order.

        Raises
        ------
        CodecError
            If the stream cannot be decoded, in libde265's words, or the process has ended.
        """
        (count,) = COUNT.unpack(self._read(COUNT.size))
        if count < 0:
            (size,) = COUNT.unpack(self._read(COUNT.size))
            raise CodecError(f"HEVC: libde265 says: {self._read(size).decode(errors='replace')}. {HINT}")
        return [self._read_frame() for _ in range(count)]

    def _read_frame(self) -> FrameMotion:
        poc, is_keyframe, kind, width, height, columns, rows, num_lists = HEADER.unpack(self._read(HEADER.size))
        blocks = rows * columns
        mode = np.frombuffer(self._read(blocks), np.uint8).reshape(rows, columns)
        vectors_qpel = np.zeros((2, rows, columns, 2), np.int16)
        ref_poc = np.full((2, rows, columns), NO_REFERENCE, np.int32)
        for index in range(num_lists):
            vectors_qpel[index].ravel()[:] = np.frombuffer(self._read(4 * blocks), np.int16)
            ref_poc[index].ravel()[:] = np.frombuffer(self._read(4 * blocks), np.int32)
        return FrameMotion(
            height=height,
            width=width,
            poc=poc,
            kind=cast(Literal["I", "P", "B"], chr(kind)),
            is_keyframe=bool(is_keyframe),
            mode=mode,
            vectors_qpel=vectors_qpel,
            ref_poc=ref_poc,
        )

    def _read(self, size: int) -> bytes:
        data = self._answers.read(size)
        if len(data) == size:
            return data
        status = self._process.wait()
        reason = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        raise CodecError(f"HEVC: the decoder ended with {reason}. {HINT}")


@cache
def _program() -> Path:
    """Find the program once: a split has thousands of clips."""
    return ensure_native_reader()


def _has_hash(access_unit: bytes) -> bool:
    return any(unit[0] >> 1 == NAL_SUFFIX_SEI and unit[2:3] == bytes([PICTURE_HASH]) for unit in nal_units(access_unit))


def _join(index: int, pixels: VideoFrame, motion: FrameMotion) -> DecodedFrame:
    if (pixels.width, pixels.height, pixels.key_frame) != (motion.width, motion.height, motion.is_keyframe):
        raise CodecError(f"HEVC: FFmpeg and libde265 disagree about frame {index}. {HINT}")
    if pixels.interlaced_frame:
        raise CodecError(f"HEVC: frame {index} is a field of an interlaced one; whole frames are read. {HINT}")
    return DecodedFrame(index=index, pixels=pixels, **vars(motion))
