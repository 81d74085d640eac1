"""Frames of known colours, encoded in every kind of planes, come out in these colours."""

import io

import av
import numpy as np
import pytest
from av.video.frame import VideoFrame

from arseg.codec.color import RGBConverter
from arseg.codec.display import AS_CODED

PATCHES = np.array(
    [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128], [200, 120, 40], [30, 90, 180]]
)
PATCH = 32
"""Columns of each."""

LUMA = {1: (0.2126, 0.0722), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Shares of red and blue in luma, by the matrix's number in streams."""

X264, X265, FFV1 = ("libx264", {"qp": "0"}), ("libx265", {"x265-params": "lossless=1:log-level=none"}), ("ffv1", {})

TOLERANCE = 3
"""Of libswscale, which rounds coarsely."""


def painted(pix_fmt, matrix, is_full, rgb=PATCHES / 255, height=64, patch=PATCH):
    """A frame with a column for each colour (R, G, B from 0 to 1), computed as the standards say."""
    frame = VideoFrame(patch * len(rgb), height, pix_fmt)
    bits = frame.format.components[0].bits
    red, blue = LUMA[matrix]
    luma = rgb @ [red, 1 - red - blue, blue]
    chroma = [(rgb[:, 2] - luma) / (2 - 2 * blue), (rgb[:, 0] - luma) / (2 - 2 * red)]
    top, unit = 2**bits - 1, 2 ** (bits - 8)
    gain, black, chroma_gain = (top, 0, top) if is_full else (219 * unit, 16 * unit, 224 * unit)
    values = [black + gain * luma, *(128 * unit + chroma_gain * each for each in chroma), np.full(len(rgb), top)]
    for plane, value in zip(frame.planes, values, strict=False):
        samples = np.frombuffer(plane, np.uint16 if bits > 8 else np.uint8).reshape(plane.height, -1)
        samples[:, : plane.width] = np.clip(np.rint(value), 0, top).repeat(plane.width // len(rgb))
    frame.colorspace, frame.color_range = matrix, 2 if is_full else 1
    frame.pts = 0
    return frame


def encoded(frame, encoder, options):
    """Return the frame as it comes out of a file."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream(encoder, 25, options=options)
        context = stream.codec_context
        context.width, context.height, context.pix_fmt = frame.width, frame.height, frame.format.name
        context.colorspace, context.color_range = frame.colorspace, frame.color_range
        container.mux([*stream.encode(frame), *stream.encode(None)])
    file.seek(0)
    with av.open(file) as container:
        return next(container.decode(video=0))


def colours(frame, patch=PATCH):
    rgb = RGBConverter().convert(frame, AS_CODED)
    return rgb[rgb.shape[0] // 2, patch // 2 :: patch].astype(int)


@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("matrix", LUMA)
@pytest.mark.parametrize(
    ("encoder", "pix_fmt"),
    [
        *((X264, f"yuv{kind}p{bits}") for kind in (420, 422, 444) for bits in ("", "10le")),
        *((X265, pix_fmt) for pix_fmt in ("yuv420p12le", "yuv422p10le", "yuv444p12le", "gray", "gray10le")),
        *((FFV1, pix_fmt) for pix_fmt in ("yuva420p", "yuva444p10le", "yuv411p", "gray", "gray10le")),
    ],
    ids=str,
)
def test_colours_are_those_that_were_encoded(encoder, pix_fmt, matrix, is_full):
    expected = PATCHES
    if "gray" in pix_fmt:
        red, blue = LUMA[matrix]
        expected = (PATCHES @ [red, 1 - red - blue, blue])[:, None].repeat(3, axis=1)
    found = colours(encoded(painted(pix_fmt, matrix, is_full), *encoder))
    assert np.abs(found - expected).max() <= TOLERANCE


@pytest.mark.parametrize(
    ("height", "matrix", "number"), [(718, 6, 2), (720, 1, 2), (718, 6, 8), (720, 1, 14), (64, 6, 5)]
)
def test_where_no_known_matrix_is_named_the_size_tells(height, matrix, number):
    frame = painted("yuv420p", matrix, False, height=height)
    frame.colorspace = number
    assert np.abs(colours(frame) - PATCHES).max() <= TOLERANCE


TO_XYZ = {
    1: [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
    9: [[0.6369580, 0.1446169, 0.1688810], [0.2627002, 0.6779981, 0.0593017], [0, 0.0280727, 1.0609851]],
    12: [[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0, 0.0451134, 1.0439444]],
}
"""Primaries of BT.709, BT.2020 and P3, by their numbers in streams."""


@pytest.mark.parametrize("height", [64, 63])
@pytest.mark.parametrize(("primaries", "matrix"), [(9, 9), (12, 1)])
def test_wide_gamuts_are_converted(primaries, matrix, height):
    rgb = np.array([[200, 50, 40], [40, 180, 60], [30, 60, 190], [255, 255, 255], [0, 0, 0], [200, 120, 40]]) / 255
    linear = np.where(rgb < 0.081, rgb / 4.5, ((rgb + 0.099) / 1.099) ** (1 / 0.45))
    wide = np.clip(linear @ (np.linalg.inv(TO_XYZ[primaries]) @ TO_XYZ[1]).T, 0, 1)
    coded = np.where(wide < 0.018, 4.5 * wide, 1.099 * wide**0.45 - 0.099)
    frame = painted("yuv444p10le", matrix, False, coded, height)
    frame.color_primaries, frame.color_trc = primaries, 1
    assert np.abs(colours(frame) - 255 * rgb).max() <= TOLERANCE


def pq(nits):
    power = (nits / 10000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


@pytest.mark.parametrize("transfer", [16, 18])
def test_hdr_is_tone_mapped(transfer):
    """Greys stay grey and in their order up to the peak, and hues stay what they are."""
    grey = pq(np.array([0, 1, 10, 50, 100, 203, 400, 1000])) if transfer == 16 else np.linspace(0, 1, 8)
    rgb = np.stack([grey, grey, grey], axis=1)
    rgb = np.concatenate([rgb, 0.45 * np.eye(3) + 0.15])
    frame = painted("yuv420p10le", 9, False, rgb)
    frame.color_primaries, frame.color_trc = 9, transfer
    found = colours(frame)
    greys, hues = found[:8], found[8:]
    assert np.ptp(greys, axis=1).max() <= TOLERANCE
    assert (np.diff(greys[:, 1]) > 10).all()
    assert greys[0].max() <= TOLERANCE
    assert 90 < greys[4, 1] < 180
    np.testing.assert_array_equal(hues.argmax(axis=1), [0, 1, 2])
