"""A decoded clip whose pictures refer to earlier ones only: what AR-Seg can follow to a keyframe."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from arseg.codec.picture import UNKNOWN_REFERENCE, DecodedPicture, PredictionMode
from arseg.errors import CodecError, MotionError

REMAKE = "Encode the video again without B-pictures, with HEVC or with H.264 and one reference: arseg clips does"

MAX_BACK = 255
"""What references further back are counted as."""


class BackReferences:
    """Turns picture order counts into numbers of pictures back in display order, picture by picture."""

    def __init__(self) -> None:
        self._index_of_poc: dict[int, int] = {}

    def locate(self, picture: DecodedPicture) -> NDArray[np.uint8]:
        """Count how many pictures back each block's reference lies.

        Parameters
        ----------
        picture : DecodedPicture
            The next picture in display order.

        Returns
        -------
        ref_back : ndarray of uint8, shape (Hb, Wb)
            1 for the previous picture; 0 where a block is intra-coded.

        Raises
        ------
        MotionError
            If the picture is a B-picture, or refers to one that is unknown or not there.
        """
        if picture.kind == "B":
            raise MotionError(f"picture {picture.index} is a B-picture, which refers to later pictures. {REMAKE}")
        if picture.is_keyframe:
            self._index_of_poc.clear()  # nothing after it refers to what was before it
        ref_back = np.zeros(picture.mode.shape, np.uint8)
        unresolved = picture.mode != PredictionMode.INTRA
        for poc, index in reversed(self._index_of_poc.items()):  # the last pictures are the likely ones
            if not unresolved.any():
                break
            found = unresolved & (picture.ref_poc[0] == poc)
            ref_back[found] = min(picture.index - index, MAX_BACK)
            unresolved &= ~found
        if unresolved.any():
            raise MotionError(_unresolved(picture, int(picture.ref_poc[0][unresolved][0])))
        self._index_of_poc[picture.poc] = picture.index
        return ref_back


def _unresolved(picture: DecodedPicture, poc: int) -> str:
    if poc == UNKNOWN_REFERENCE:
        return (
            f"picture {picture.index} has vectors, but the decoder does not tell which of several reference pictures "
            f"they point to. {REMAKE}"
        )
    return (
        f"picture {picture.index} refers to a picture with order count {poc}, which the stream does not show before "
        f"it. {REMAKE}"
    )


@dataclass(frozen=True, eq=False)
class DecodedClip:
    """A decoded clip of T pictures in display order; Hb = ceil(H / 4), Wb = ceil(W / 4)."""

    pictures: tuple[DecodedPicture, ...]
    """The pictures as they were read."""
    block_motion_qpel: NDArray[np.int16]
    """Vectors (x, y) in quarter pixels, shape (T, Hb, Wb, 2): a block is predicted from its place plus the
    vector. Zero where a block is intra-coded."""
    block_ref_back: NDArray[np.uint8]
    """How many frames back the predicting picture lies, shape (T, Hb, Wb); 0 where a block is intra-coded."""

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def height(self) -> int:
        """Rows of a picture."""
        return self.pictures[0].height

    @property
    def width(self) -> int:
        """Columns of a picture."""
        return self.pictures[0].width

    @property
    def frames(self) -> NDArray[np.uint8]:
        """All pictures in RGB, shape (T, H, W, 3)."""
        return np.stack([picture.to_rgb() for picture in self.pictures])

    def rgb(self, index: int) -> NDArray[np.uint8]:
        """One picture in RGB, shape (H, W, 3); converted each time."""
        return self.pictures[index].to_rgb()


def collect_clip(pictures: Iterable[DecodedPicture]) -> DecodedClip:
    """Make a clip of decoded pictures.

    Parameters
    ----------
    pictures : iterable of DecodedPicture
        In display order, at least one, as `arseg.codec.decode.read_pictures` gives them.

    Returns
    -------
    clip : DecodedClip
        With motion by number of pictures back.

    Raises
    ------
    CodecError
        If the pictures' size changes.
    MotionError
        As `BackReferences.locate`.
    """
    collected = tuple(pictures)
    if len(sizes := {(picture.width, picture.height) for picture in collected}) > 1:
        raise CodecError(f"the size of the pictures changes within the clip: {sorted(sizes)}. Encode it at one size")
    references = BackReferences()
    ref_back = np.stack([references.locate(picture) for picture in collected])
    return DecodedClip(collected, np.stack([picture.motion_qpel[0] for picture in collected]), ref_back)
