"""Frames of any video in RGB, in the colours that they stand for."""

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from numpy.typing import NDArray

from arseg.codec.display import Display
from arseg.codec.filters import FilterGraph
from arseg.codec.frame import to_rgb

MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""Between colours and planes, by their numbers in streams (H.273, table 4)."""

HD_WIDTH, HD_HEIGHT = 1280, 720
"""Size from which on players take a video that names no matrix for BT.709."""

HDR = (ColorTrc.SMPTE2084, ColorTrc.ARIB_STD_B67)
WIDE_GAMUTS = (ColorPrimaries.BT2020, ColorPrimaries.SMPTE431, ColorPrimaries.SMPTE432)

LIMITED_GREY = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)
"""Grey of limited range in full range; libswscale takes all grey planes for full range."""

EVEN_SIDES = "w=ceil(iw/2)*2:h=ceil(ih/2)*2"
"""All that the filter colorspace takes."""


class RGBConverter:
    """Converts the frames of one video; a filter for HDR takes seconds to make, and is kept."""

    def __init__(self) -> None:
        self._graph: FilterGraph | None = None
        self._made_for: tuple[object, ...] = ()

    def convert(self, frame: VideoFrame, display: Display) -> NDArray[np.uint8]:
        """Return a frame in RGB (BT.709, limited to what that can show), upright, with square pixels, shape (H, W, 3).

        Matrix and range are those that the frame names; where it names no matrix, it is BT.709 from 1280 columns or 720
        rows on, BT.601 below. FFmpeg tone-maps HDR, and converts the primaries of BT.2020 and P3. Alpha is left out.
        """
        matrix = _matrix(frame)
        width, height = display.square_size(frame.width, frame.height)
        if filters := _filters(frame, matrix):
            scale = "scale", f"w={width}:h={height}:flags=bicubic+accurate_rnd"
            rgb = self._filter(frame, (*filters, scale, ("format", "rgb24"))).to_ndarray().astype(np.uint8, copy=False)
        else:
            rgb = to_rgb(frame, matrix=matrix, width=width, height=height)
        if len(frame.format.components) < 3 and frame.color_range == ColorRange.MPEG:
            rgb = LIMITED_GREY[rgb]
        return display.turn(rgb)

    def _filter(self, frame: VideoFrame, filters: tuple[tuple[str, str], ...]) -> VideoFrame:
        key = frame.format.name, frame.width, frame.height, frame.color_range, filters
        if self._graph is None or self._made_for != key:
            self._graph, self._made_for = FilterGraph(frame, *filters), key
        (rgb,) = self._graph.push(frame)
        return rgb


def _matrix(frame: VideoFrame) -> Colorspace:
    if frame.colorspace in MATRICES:
        return MATRICES[frame.colorspace]
    if frame.color_trc in HDR or frame.color_primaries == ColorPrimaries.BT2020:
        return Colorspace.BT2020
    return Colorspace.ITU709 if frame.width >= HD_WIDTH or frame.height >= HD_HEIGHT else Colorspace.ITU601


def _filters(frame: VideoFrame, matrix: Colorspace) -> tuple[tuple[str, str], ...]:
    """Return what brings a frame to BT.709 before it is converted; nothing for most."""
    planes = ("setparams", f"colorspace={int(matrix)}")
    if frame.color_trc in HDR:
        return planes, ("scale", "out_primaries=bt709:out_transfer=bt709:intent=perceptual"), ("format", "gbrp")
    if frame.color_primaries in WIDE_GAMUTS and not frame.format.is_rgb and len(frame.format.components) >= 3:
        converted = f"all=bt709:itrc=bt709:irange={2 if frame.color_range == ColorRange.JPEG else 1}"
        return planes, ("scale", EVEN_SIDES), ("colorspace", converted)
    return ()
