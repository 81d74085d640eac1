"""Read the motion of any video, and follow it back to the keyframes: what `arseg motion` is made of."""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from arseg.codec.clip import BackReferences
from arseg.codec.decode import read_pictures
from arseg.codec.picture import DecodedPicture
from arseg.codec.stream import PacketStream, open_video
from arseg.errors import CodecError, MotionError
from arseg.motion.compose import MAX_REF_BACK, MotionComposer, check_size


@contextmanager
def open_frames(video: str, max_frames: int | None = None) -> Iterator[tuple[PacketStream, Iterator[DecodedPicture]]]:
    """Open a video to read its frames and their motion.

    Parameters
    ----------
    video : str
        As `arseg.codec.stream.open_video` takes it.
    max_frames : int, optional
        How many frames to read; all by default.

    Yields
    ------
    stream : PacketStream
        Where the frames come from.
    frames : iterator of DecodedPicture
        Frames of one size in display order; errors name the video.

    Raises
    ------
    CodecError
        If the video cannot be opened or read, has no reader or no frame, is damaged, or changes its size.
    MotionError
        If the decoder gives no motion.
    """
    try:
        with open_video(video) as stream, closing(_of_one_size(read_pictures(stream))) as frames:
            yield stream, islice(frames, max_frames)
    except (CodecError, MotionError) as error:
        named = str(error).startswith(f"{video}: ")
        raise error if named else type(error)(f"{video}: {error}") from error


class KeyframeFollower:
    """Follows the pixels of each frame of a video back to the latest keyframe.

    Parameters
    ----------
    subpixel : bool
        Compose without rounding, as `arseg.motion.compose.MotionComposer` says.
    max_ref_back : int
        Furthest reference that is followed, in frames; blocks that refer to an older one count as still.
    """

    def __init__(self, *, subpixel: bool = False, max_ref_back: int = MAX_REF_BACK) -> None:
        self._subpixel = subpixel
        self._max_ref_back = max_ref_back
        self._references = BackReferences()
        self._composer: MotionComposer | None = None
        self._begun = False

    def locate(self, frame: DecodedPicture) -> NDArray[np.uint8]:
        """Find what the next frame in display order refers to, without composing.

        Parameters
        ----------
        frame : DecodedPicture
            The first must be a keyframe.

        Returns
        -------
        ref_back : ndarray of uint8, shape (Hb, Wb)
            As `arseg.codec.clip.BackReferences.locate`.

        Raises
        ------
        MotionError
            If the frame refers to a later or an unknown one, there is no keyframe yet, or frames are too large.
        """
        if not self._begun:
            if not frame.is_keyframe:
                raise MotionError(
                    f"frame {frame.index}, the first, is not a keyframe, so there is nothing to follow the motion to"
                )
            check_size(frame.height, frame.width)
            self._begun = True
        return self._references.locate(frame)

    def follow(self, frame: DecodedPicture) -> NDArray[np.int16]:
        """Compose the motion of the next frame in display order to the codec's last keyframe.

        Parameters
        ----------
        frame : DecodedPicture
            The first must be a keyframe.

        Returns
        -------
        composed_qpel : ndarray of int16, shape (H, W, 2)
            As `compose`.

        Raises
        ------
        MotionError
            As `locate`.
        """
        return self.compose(frame, self.locate(frame), restart=frame.is_keyframe)

    def compose(
        self, frame: DecodedPicture, ref_back: NDArray[np.uint8], *, restart: bool = False
    ) -> NDArray[np.int16]:
        """Compose the motion of the frame that was located last.

        Parameters
        ----------
        frame : DecodedPicture
            The frame.
        ref_back : ndarray of uint8, shape (Hb, Wb)
            What `locate` returned for it.
        restart : bool
            Make it the keyframe of the frames after it, whatever it is to the codec. A frame may be composed to the
            keyframe before it first.

        Returns
        -------
        composed_qpel : ndarray of int16, shape (H, W, 2)
            Displacement (x, y) in quarter pixels from each pixel to its source in the keyframe; zero at a keyframe.
        """
        if self._composer is None:
            self._composer = MotionComposer(
                frame.height, frame.width, subpixel=self._subpixel, max_ref_back=self._max_ref_back
            )
        if restart:
            self._composer.restart()
        self._composer.push(frame.motion_qpel[0], ref_back)
        return self._composer.compose()


def _of_one_size(frames: Iterator[DecodedPicture]) -> Generator[DecodedPicture, None, None]:
    size = None
    for frame in frames:
        found = frame.width, frame.height
        if size is None:
            size = found
        if found != size:
            raise CodecError(
                f"frame {frame.index} has {found[0]}x{found[1]} pixels, those before it {size[0]}x{size[1]}. "
                f"Read the part before it with --max-frames {frame.index}, or cut the video there"
            )
        yield frame
