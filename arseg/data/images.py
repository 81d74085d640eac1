"""Reading frames and label maps, with errors that say which file is wrong and how to mend it.

Owns the pixel formats: frames are RGB ``uint8``, label maps hold class indices. What files there are, and
which belong together, is the manifest's business. PNG has checksums, and a damaged one is refused; JPEG has none.
Most files are plain PNGs, which `arseg.data.png` reads; the others go through Pillow.
"""

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg.access import reading
from arseg.config import IGNORE_INDEX
from arseg.data.png import decode_png
from arseg.errors import DataError

IMAGE_MODES = ("RGB", "RGBA", "L", "P")
"""Pillow modes of 8 bits a channel that convert to RGB without loss of meaning."""

DAMAGE = (SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises on what is no image or a damaged one, beside OSError; its PNG reader raises SyntaxError."""

LABEL_MODES = ("L", "P")
"""One channel of 8 bits; with a palette ("P") the stored index is the class, the palette only colours it."""


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read one frame.

    Parameters
    ----------
    path : path
        A PNG, JPEG or other file that Pillow reads, 8 bits a channel.

    Returns
    -------
    image : ndarray of uint8, shape (H, W, 3)
        RGB.

    Raises
    ------
    DataError
        If the file is missing, damaged or truncated, or has more than 8 bits a channel.
    FileAccessError
        If the operating system does not let it be read.
    """
    image = _load(Path(path), "frame", channels=3)
    if isinstance(image, np.ndarray):
        return image
    if image.mode not in IMAGE_MODES:
        raise DataError(
            f"{path}: the frame has the pixel format {image.mode}, expected 8-bit RGB or grey. "
            "Convert it to an 8-bit RGB PNG."
        )
    return np.array(image.convert("RGB"))


def read_label(path: str | Path, num_classes: int) -> NDArray[np.uint8]:
    """Read one map of class indices.

    Parameters
    ----------
    path : path
        A PNG of one channel of at most 8 bits, with or without a palette.
    num_classes : int
        Number of classes K.

    Returns
    -------
    label : ndarray of uint8, shape (H, W)
        Class indices 0 ... K - 1, or 255 where the pixel is ignored.

    Raises
    ------
    DataError
        If the file is missing, damaged or truncated, has several channels, or holds a value that is no class.
    FileAccessError
        If the operating system does not let it be read.
    """
    image = _load(Path(path), "label map", channels=1)
    if isinstance(image, Image.Image) and image.mode not in LABEL_MODES:
        deep = image.mode.startswith(("I", "F"))
        advice = (
            "Store the indices in 8 bits" if deep else "Convert colour labels to indices first, one index per class"
        )
        raise DataError(
            f"{path}: the label map has the pixel format {image.mode}, expected one 8-bit channel of class indices. "
            f"{advice}."
        )
    label = np.array(image)
    valid = (label < num_classes) | (label == IGNORE_INDEX)
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        raise DataError(
            f"{path}: label value {label[row, column]} at row {row}, column {column}; allowed are 0 to "
            f"{num_classes - 1} (the {num_classes} classes) and {IGNORE_INDEX} (ignored). "
            f"Set such pixels to {IGNORE_INDEX}, or add the class to the classes sheet."
        )
    return label


def check_sizes_match(image_path: str | Path, label_path: str | Path) -> None:
    """Check that a frame and its label map have the same size; reads the files' headers only.

    Raises
    ------
    DataError
        If the sizes differ or a header cannot be read.
    """
    image_size, label_size = _header_size(Path(image_path)), _header_size(Path(label_path))
    if image_size != label_size:
        raise DataError(
            f"{label_path}: the label map has {label_size[0]}x{label_size[1]} pixels, its frame {image_path} "
            f"has {image_size[0]}x{image_size[1]}. Resize one of them (labels by nearest neighbour only)."
        )


def _header_size(path: Path) -> tuple[int, int]:
    with _reading(path, "image"), Image.open(path) as image:
        return image.size


def _load(path: Path, what: str, channels: int) -> NDArray[np.uint8] | Image.Image:
    """Read the pixels of a plain PNG of so many channels, or what Pillow makes of any other file."""
    with _reading(path, what):
        content = path.read_bytes()
        pixels = decode_png(content, channels)
        if pixels is not None:
            return pixels
        # Decoding passes over the checksums of a PNG's chunks; this compares them, and uses the image up.
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            bits = _grey_bits(content)
            if channels == 1 and bits < 8:  # Pillow spreads the levels to 0 ... 255; a label map's are indices
                return np.asarray(image.convert("L")) // np.uint8(255 // (2**bits - 1))
            return image


def _grey_bits(content: bytes) -> int:
    """Bits of a pixel in a grey PNG file that has been read; 8 for any other file."""
    is_grey_png = content[12:16] == b"IHDR" and content[25] == 0
    return content[24] if is_grey_png else 8


@contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    def damaged(error: Exception) -> DataError:
        return DataError(
            f"{path}: the {what} cannot be read ({error}). Replace it by an intact copy; if the workflow made it, "
            "delete the data set's folder and run again."
        )

    try:
        with reading(path, damaged, *DAMAGE):
            yield
    except FileNotFoundError as error:
        raise DataError(
            f"{path}: no such {what}. Put the file there, or make the manifest again if the data moved."
        ) from error
