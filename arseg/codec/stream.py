"""Take compressed packets out of byte strings, files and network streams, and decode them as players do.

Decoding goes on where a stream is damaged or odd. Each frame comes out once, in display order, and carries the packet
that it was decoded from, so that at the end it is known of each packet what became of its frame.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import cast

import av
import av.error
import av.logging
from av.codec.context import CodecContext
from av.container import InputContainer
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.stream import VideoStream

from arseg.access import access_error, find_refusal
from arseg.codec.damage import Account, Damage, Origin
from arseg.codec.display import AS_CODED, Display, find_orientation, make_display
from arseg.codec.packets import ENCRYPTED, PacketReader
from arseg.codec.pyav import fraction_of
from arseg.codec.sections import Part
from arseg.errors import ArsegError, CodecError

LOG = logging.getLogger(__name__)

WRONG_HASH = "mismatching"
"""What FFmpeg says of a frame that has another hash than the stream says."""

MAX_HELD = 16
"""Frames that wait for those they may refer to: as many as H.264 and HEVC can reorder."""

MATROSKA_KEY = "enc_key_id"
"""What FFmpeg calls, in a track's metadata, the key that it is encrypted with."""

STANDARD_INPUT = "pipe:0"
"""FFmpeg's name of the standard input."""

Observer = Callable[[Origin | None, list[bytes]], None]
"""Told of each packet before it is decoded, with its units; of the end with None."""


class PacketStream:
    """Compressed frames of one video, in decode order, which are decoded once.

    Parameters
    ----------
    codec : str
        FFmpeg's name of the coding standard, for example ``hevc``.
    packets : iterator of Packet
        One access unit each, in the form that `decoder` expects.
    decoder : VideoCodecContext, optional
        Decoder that knows all that the container says, not opened yet; by default one that knows nothing.
    frames_per_second : Fraction, optional
        Average, where the container says it.
    time_base : Fraction, optional
        Seconds in a unit of the packets' times.
    num_frames : int, optional
        How many frames there are, where the container says it.
    pixel_aspect : Fraction, optional
        Width of a pixel divided by its height, where the container says it and overrides the stream.
    path : Path, optional
        The file, if it is one.
    is_encrypted : bool
        Whether all packets are; MP4 says it of each.
    part : Part, optional
        Which part of it to decode; all by default.
    duration : float, optional
        Its duration in seconds, where the container says it; without, all of it is the first part.
    """

    def __init__(
        self,
        codec: str,
        packets: Iterator[Packet],
        decoder: VideoCodecContext | None = None,
        *,
        frames_per_second: Fraction | None = None,
        time_base: Fraction | None = None,
        num_frames: int | None = None,
        pixel_aspect: Fraction | None = None,
        path: Path | None = None,
        is_encrypted: bool = False,
        part: Part | None = None,
        duration: float | None = None,
    ) -> None:
        self.codec, self.packets = codec, packets
        self.frames_per_second, self.time_base, self.num_frames = frames_per_second, time_base, num_frames
        self.decoder = decoder or cast(VideoCodecContext, CodecContext.create(codec, "r"))
        self.account = Account()
        self.reader = PacketReader(
            codec,
            self.account,
            self.decoder.extradata,
            time_base=time_base,
            duration=duration,
            part=part,
            path=path,
            is_encrypted=is_encrypted,
        )
        self.duration, self._part, self._pixel_aspect = duration, part, pixel_aspect
        self._decoding: Iterator[VideoFrame] | None = None
        self._unshown: deque[VideoFrame] = deque()
        self._observe: Observer | None = None
        self._orientation: tuple[int, bool] | None = None

    @property
    def damage(self) -> Damage:
        """What could not be read so far."""
        return self.account.damage

    def frames(self, observe: Observer | None = None, **options: str) -> Iterator[VideoFrame]:
        """Yield the frames that have not been shown yet, in display order.

        Whoever asks first gets all of them, and may set options of FFmpeg's decoder. Whoever asks later goes on there,
        beginning with the frames that were handed out and not shown. `observe` is told of each packet before it is
        decoded.
        """
        self._observe = observe
        if self._decoding is None:
            self._decoding = self._decode(options)
        yield from tuple(self._unshown)
        for frame in self._decoding:
            self._unshown.append(frame)
            yield frame

    def show(self, frame: VideoFrame, *, is_damaged: bool | None = None) -> None:
        """Note that a frame of `frames` has been shown; by default, it is damaged where the decoder says so.

        It is a mistake of arseg, or of a reader that takes its frames from elsewhere, if it is not its turn.
        """
        if not self._unshown or origin_of(self._unshown.popleft()) is not origin_of(frame):
            raise AssertionError(
                f"frame {self.account.num_shown} is not the next one to be shown: arseg has lost some, or their order. "
                "Please report this, with the video"
            )
        self.account.show(is_damaged=is_damaged_frame(frame) if is_damaged is None else is_damaged)

    def finish(self) -> None:
        """Check, once all frames have been shown, that none is missing. Raises CodecError if there is none at all."""
        self.account.finish()
        is_only_or_first = self._part is None or self._part.number == 1  # later parts may be empty
        if not self.account.num_shown and self.damage.ended_early == ENCRYPTED:
            raise CodecError("the video is encrypted. Name a copy that is not")
        if not self.account.num_shown and is_only_or_first:
            told = "; ".join([*self.damage.messages, self.damage.ended_early]).strip("; ")
            raise CodecError(
                f"the {self.codec} stream holds no frame that can be decoded{f' ({told})' if told else ''}. Name, or "
                "encode, a video that has some"
            )

    def _decode(self, options: dict[str, str]) -> Iterator[VideoFrame]:
        decoder = self.decoder
        decoder.thread_count = 1  # with frame threads a damaged stream decodes differently from run to run
        decoder.copy_opaque = True
        # Of frames that carry hashes, FFmpeg says whether they are right.
        decoder.options = options | ({"err_detect": "crccheck"} if self.codec == "hevc" else {})
        held: deque[VideoFrame] = deque()
        reading = self.reader.read(self.packets, with_bytes=self._observe is not None)
        for packet, origin, units in chain(reading, [(None, None, [])]):
            if self._observe:
                self._observe(origin, units)
            frames = self._decode_packet(packet, origin)
            if origin is not None:
                origin.pixel_aspect = self._pixel_aspect or decoder.sample_aspect_ratio
            for frame in frames:
                self._arrive(frame, origin)
                held.append(frame)
            # What a frame refers to may be shown after it, and only then does FFmpeg say whether it is damaged.
            while held and (packet is None or not self._waits(held[0]) or len(held) > MAX_HELD):
                frame = held.popleft()
                self.account.mark(
                    cast(Origin, frame.opaque),
                    is_keyframe=frame.key_frame,
                    is_intra=frame.pict_type == PictureType.I,
                )
                if not self.account.num_shown and not self._unshown and not frame.key_frame:
                    LOG.info(
                        "the first frame that is shown is no keyframe; those that it refers to are missing or cut away"
                    )
                yield frame

    def _arrive(self, frame: VideoFrame, sent: Origin | None) -> None:
        """Note where a frame comes from, how it is to be shown, and what FFmpeg says of it."""
        if frame.opaque is None:  # by a decoder that does not say it
            frame.opaque = sent or Origin(self.account.num_packets, 0, holds_frame=True, is_cut=False)
        origin = cast(Origin, frame.opaque)
        orientation = find_orientation(frame)
        if orientation or frame.key_frame:  # FFmpeg puts that of a message in the stream on the message's frame alone
            self._orientation = orientation
        origin.display = make_display(self._orientation, origin.pixel_aspect)
        if frame.is_corrupt:
            self.account.note(origin, f"{self.codec}: parts of it are missing, and guessed")
        self.account.arrive(origin)

    def _waits(self, frame: VideoFrame) -> bool:
        return bool(self.decoder.has_b_frames) and self.account.is_pending_before(cast(Origin, frame.opaque))

    def _decode_packet(self, packet: Packet | None, origin: Origin | None) -> list[VideoFrame]:
        """Return the frames that come out with a packet, or at the end; what is wrong with it is noted."""
        words: list[tuple[int, str, str]] = []
        try:
            if not self.reader.has_hashes:
                return self.decoder.decode(packet)
            with _decoder_says() as words:
                return self.decoder.decode(packet)
        except av.error.EOFError:  # the decoder has been told of the end before
            return []
        except av.error.FFmpegError as error:
            if origin:
                origin.fails = True
                self.account.note(origin, f"{self.codec}: it cannot be decoded ({error.strerror})")
            return []
        finally:
            if origin and any(WRONG_HASH in message for _, _, message in words):
                self.account.note(origin, f"{self.codec}: it has another hash than the stream says")


def origin_of(frame: VideoFrame) -> Origin | None:
    """Return the packet that a frame of `PacketStream.frames` was decoded from; None for other frames."""
    return cast(Origin | None, frame.opaque)


def is_damaged_frame(frame: VideoFrame) -> bool:
    """Whether a frame may be wrong: it is damaged, or depends on one that is."""
    origin = origin_of(frame)
    return origin is not None and origin.is_damaged


def display_of(frame: VideoFrame) -> Display:
    """Return how a frame of `PacketStream.frames` is to be shown, by its display matrix and sample aspect ratio."""
    origin = origin_of(frame)
    return AS_CODED if origin is None else origin.display


def crop_of(frame: VideoFrame) -> tuple[int, int]:
    """Return how many columns and rows of the coded frame lie left of and above the displayed one; of H.264 only.

    FFmpeg takes off fewer columns on the left than it is told, if that keeps rows aligned in memory.
    """
    origin = origin_of(frame)
    if origin is None or origin.corner is None:
        return 0, 0
    return max(0, origin.corner[0] - frame.width), max(0, origin.corner[1] - frame.height)


def split_bitstream(bitstream: bytes, codec: str) -> PacketStream:
    """Cut a whole byte stream without container into its frames; `codec` is FFmpeg's name of its coding standard."""
    parser = CodecContext.create(codec, "r")
    return PacketStream(codec, iter([*parser.parse(bitstream), *parser.parse()]))


@contextmanager
def open_video(source: str | Path, part: Part | None = None) -> Iterator[PacketStream]:
    """Yield the first video stream of anything that FFmpeg opens, its packets read as they are asked for.

    Parameters
    ----------
    source : str or Path
        File, network address, or ``-`` for the standard input.
    part : Part, optional
        Which part of it to decode; all by default.

    Raises
    ------
    CodecError, FileAccessError
        If it cannot be opened or read, or has no video.
    """
    try:
        with av.open(STANDARD_INPUT if str(source) == "-" else str(source), metadata_errors="replace") as container:
            if not container.streams.video:
                raise CodecError(f"{source}: has no video stream. Name a video")
            stream = container.streams.video[0]
            if stream.codec_context is None:
                raise CodecError(
                    f"{source}: its video is of a codec that no decoder of FFmpeg knows. Name another video"
                )
            aspect = stream.sample_aspect_ratio  # what FFmpeg takes: the container's, otherwise the stream's
            yield PacketStream(
                stream.codec_context.codec.canonical_name,
                (packet for packet in container.demux(stream) if packet.size),
                stream.codec_context,
                frames_per_second=fraction_of(stream.average_rate),
                time_base=fraction_of(stream.time_base),
                num_frames=stream.frames or None,
                pixel_aspect=aspect if aspect != stream.codec_context.sample_aspect_ratio else None,
                path=Path(source),
                is_encrypted=MATROSKA_KEY in stream.metadata,
                part=part,
                duration=_duration(container, stream),
            )
    except av.error.FFmpegError as error:
        if (refusal := find_refusal(error)) and Path(source).exists():
            raise access_error(Path(source), refusal) from error
        raise CodecError(
            f"{source}: cannot be read as a video: {error.strerror}. Name a file or stream that FFmpeg opens"
        ) from error


def duration_of(source: str | Path) -> float:
    """Return the seconds of a video by its header; 0 if it does not say, or cannot be read."""
    try:
        with open_video(source) as stream:
            return stream.duration or 0.0
    except ArsegError:
        return 0.0


def _duration(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return None if container.duration is None else container.duration / av.time_base


@contextmanager
def _decoder_says() -> Iterator[list[tuple[int, str, str]]]:
    """Collect the errors that FFmpeg reports in this thread."""
    level = av.logging.get_level()
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as words:
            yield words
    finally:
        av.logging.set_level(level)
