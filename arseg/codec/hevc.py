"""Read HEVC: motion from the program ``hevc-motion``, which holds libde265, pixels from FFmpeg's decoder.

FFmpeg exports no HEVC motion vectors. libde265 keeps them, but not every stream's pixels come out of it right,
and it is written for streams that are whole: so it reads motion only, in a process of its own that a damaged stream
may crash, while FFmpeg decodes the same access unit here. Frames of both are joined by the number of that.
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

import numpy as np
from av.video.frame import PictureType, VideoFrame

from arseg.codec.bitstream import START_CODE, hevc_layer
from arseg.codec.damage import Origin
from arseg.codec.frame import NO_REFERENCE, DecodedFrame, FrameMotion, PredictionMode, num_blocks
from arseg.codec.native_build import ensure_native_reader
from arseg.codec.stream import PacketStream, is_damaged_frame, origin_of
from arseg.errors import CodecError

REQUEST = struct.Struct("=Ii")
COUNT = struct.Struct("=i")
HEADER = struct.Struct("=10i")
"""Fields of the protocol that ``native/main.cpp`` describes."""

MAX_LEAD = 32
"""Frames that may wait for their motion: HEVC reorders 16 at most."""

PARAMETER_SETS = range(32, 35)
RANDOM_ACCESS = range(16, 24)
"""Kinds of units (H.265, table 7-1)."""

MAX_PARAMETER_SETS = 64
"""That are kept, to begin anew at a later keyframe: a stream has three, or a few more."""

MAX_FAILURES = 3
"""Times in a row that libde265 may fail before it gives the motion of any frame: then it does not know the stream."""

HINT = "The stream is damaged, or of a kind that is not read; encode it again"


def read_hevc(stream: PacketStream) -> Iterator[DecodedFrame]:
    """Decode an HEVC stream; see `arseg.codec.decode.read_frames`.

    Frames whose motion libde265 does not give are marked as damaged; it begins anew at the next keyframe. Raises
    CodecError if it gives the motion of none, or does not know the kind of stream.
    """
    index = 0
    waiting: deque[VideoFrame] = deque()
    with Motions(stream) as motions:
        for frame in chain(stream.frames(motions.observe), [None]):
            if frame is not None:
                waiting.append(frame)
                motions.check()
            while waiting and (frame is None or len(waiting) > MAX_LEAD or motions.is_settled(waiting[0])):
                pixels = waiting.popleft()
                yield motions.join(index, pixels)
                index += 1


class Motions:
    """Motion of the frames of a stream by the number of their packets, read beside FFmpeg's decoder.

    Ends its process with the ``with`` block.
    """

    def __init__(self, stream: PacketStream) -> None:
        self._stream = stream
        self._refusal = "HEVC: frames are shown before the first keyframe"
        self._program = _program()
        self._process: MotionProcess | None = None
        self._found: dict[int, FrameMotion] = {}
        self._parameter_sets: dict[bytes, None] = {}
        self._num_failures = 0
        self._has_found_any = False
        self._first = 0
        """Number of the first packet that the process has been given."""
        self._latest = -1
        """Number of the packet of the frame that was decoded last of those that have been joined."""

    def __enter__(self) -> "Motions":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.close()

    def observe(self, origin: Origin | None, units: list[bytes]) -> None:
        """Take a packet, or the end of the stream, before FFmpeg decodes it."""
        units = [unit for unit in units if not hevc_layer(unit)]
        for unit in units:
            if unit[0] >> 1 in PARAMETER_SETS:
                self._parameter_sets.pop(unit, None)  # so that the last one with a number is the one that counts
                self._parameter_sets[unit] = None
        while len(self._parameter_sets) > MAX_PARAMETER_SETS:
            del self._parameter_sets[next(iter(self._parameter_sets))]
        if self._process is None:
            if origin is None or not any(unit[0] >> 1 in RANDOM_ACCESS for unit in units):
                return
            self._process, self._first, self._refusal = MotionProcess(self._program), origin.number, ""
            units = [*self._parameter_sets, *units]
        try:
            number = origin.number if origin else 0
            received = self._process.ask(b"".join(START_CODE + unit for unit in units), number, ends=origin is None)
        except CodecError as error:
            self._fail(origin, str(error))
        else:
            for number, motion in received:
                self._found[number] = motion
            if received:
                self._has_found_any, self._num_failures = True, 0

    def _fail(self, origin: Origin | None, words: str) -> None:
        assert self._process
        self._process.close()
        self._process = None
        self._num_failures += 1
        if not self._has_found_any or self._num_failures >= MAX_FAILURES:
            self._refusal = words
        elif origin:
            self._stream.account.note(origin, words.partition(". ")[0])

    def check(self) -> None:
        """Raise CodecError if libde265 turns out to be of no use for the stream."""
        if self._refusal:
            raise CodecError(self._refusal)

    def is_settled(self, frame: VideoFrame) -> bool:
        """Whether a frame's motion is known, or will never be."""
        number = _number(frame)
        return number in self._found or self._process is None or number < self._first

    def join(self, index: int, pixels: VideoFrame) -> DecodedFrame:
        """Return a frame with its motion; without, it counts as damaged."""
        if pixels.interlaced_frame:
            raise CodecError(f"HEVC: frame {index} is a field of an interlaced one; whole frames are read. {HINT}")
        number = _number(pixels)
        ahead = tuple(motion for other, motion in sorted(self._found.items()) if self._latest < other < number)
        self._latest = max(self._latest, number)
        motion = self._found.pop(number, None)
        for older in [other for other in self._found if other < number - 2 * MAX_LEAD]:  # of frames that are not shown
            del self._found[older]
        seen = pixels.width, pixels.height, pixels.key_frame
        if motion and seen == (motion.width, motion.height, motion.is_keyframe):
            fields = vars(motion) | {"is_damaged": is_damaged_frame(pixels)}
            return DecodedFrame(index=index, pixels=pixels, ahead=ahead, **fields)
        if not is_damaged_frame(pixels) and (origin := origin_of(pixels)):
            words = "libde265 says something else of it than FFmpeg" if motion else "libde265 gives no motion"
            self._stream.account.note(origin, f"HEVC: {words}")
        blocks = num_blocks(pixels.height), num_blocks(pixels.width)
        return DecodedFrame(
            index=index,
            poc=index,
            kind=cast(Literal["I", "P", "B"], PictureType(pixels.pict_type).name),
            is_keyframe=bool(pixels.key_frame),
            mode=np.full(blocks, PredictionMode.INTRA, np.uint8),
            vectors_qpel=np.zeros((2, *blocks, 2), np.int16),
            ref_poc=np.full((2, *blocks), NO_REFERENCE, np.int32),
            is_damaged=True,
            pixels=pixels,
            height=pixels.height,
            width=pixels.width,
        )


class MotionProcess:
    """A running ``hevc-motion``.

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

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._answers.close()
        with suppress(BrokenPipeError):  # what was not yet sent has no reader
            self._requests.close()

    def ask(self, unit: bytes, number: int = 0, *, ends: bool = False) -> list[tuple[int, FrameMotion]]:
        """Hand over one access unit, or the end of the stream; return the motion of the frames that are then complete.

        In decode order, each with the number of its access unit. Raises CodecError if the stream cannot be decoded, in
        libde265's words, or the process has ended.
        """
        if not unit and not ends:
            return []
        with suppress(BrokenPipeError):  # what is read below says why
            self._requests.write(REQUEST.pack(len(unit), number) + unit)
            self._requests.flush()
        (count,) = COUNT.unpack(self._read(COUNT.size))
        if count < 0:
            (size,) = COUNT.unpack(self._read(COUNT.size))
            raise CodecError(f"HEVC: libde265 says: {self._read(size).decode(errors='replace')}. {HINT}")
        return [self._read_frame() for _ in range(count)]

    def _read_frame(self) -> tuple[int, FrameMotion]:
        number, poc, is_keyframe, is_reference, kind, width, height, columns, rows, num_lists = HEADER.unpack(
            self._read(HEADER.size)
        )
        blocks = rows * columns
        mode = np.frombuffer(self._read(blocks), np.uint8).reshape(rows, columns)
        vectors_qpel = np.zeros((2, rows, columns, 2), np.int16)
        ref_poc = np.full((2, rows, columns), NO_REFERENCE, np.int32)
        for index in range(num_lists):
            vectors_qpel[index].ravel()[:] = np.frombuffer(self._read(4 * blocks), np.int16)
            ref_poc[index].ravel()[:] = np.frombuffer(self._read(4 * blocks), np.int32)
        return number, FrameMotion(
            height=height,
            width=width,
            poc=poc,
            kind=cast(Literal["I", "P", "B"], chr(kind)),
            is_keyframe=bool(is_keyframe),
            is_reference=bool(is_reference),
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


def _number(frame: VideoFrame) -> int:
    origin = origin_of(frame)
    return -1 if origin is None else origin.number
