"""Reading frames and label maps, with errors that say which file is wrong and how to fix it.

Owns the pixel formats: frames are RGB ``uint8``, label maps hold class indices. PNG has checksums, and a damaged one is
refused; JPEG has none. Most files are plain PNGs, which `arseg.data.png` reads; the others go through Pillow.
"""

import io
import struct
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from arseg.access import reading
from arseg.config import IGNORE_INDEX
from arseg.data.png import decode_png
from arseg.errors import DataError

IMAGE_MODES = ("RGB", "RGBA", "L", "P")
"""Pillow modes of 8 bits a channel that convert to RGB without loss of meaning."""

LABEL_MODES = ("L", "P")
"""One channel of 8 bits; with a palette ("P") the stored index is the class, the palette only colours it."""

LOSSY_FORMATS = ("JPEG", "MPO", "JPEG2000", "WEBP")
"""Formats that change class indices, whatever a file's name says."""

DAMAGE = (SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
"""What Pillow raises on what is no image or a damaged one, beside OSError; its PNG reader raises SyntaxError."""

TO_RGB = "Convert it to an 8-bit RGB PNG."

PNG_HEADER_BYTES = 33
"""Signature and first chunk, which has size and depth."""


@dataclass(frozen=True)
class ImageHeader:
    """What the first bytes of a frame's file say."""

    size: tuple[int, int]
    """Width and height in pixels, as stored."""
    has_alpha: bool
    """Whether there is a channel of transparency, which `read_image` drops."""
    is_turned: bool
    """Whether viewers turn or mirror the image (EXIF orientation), which `read_image` does not."""


@dataclass(frozen=True)
class LabelMap:
    """A label map as it is stored, whatever its values mean."""

    indices: NDArray[np.uint8]
    """Stored values, shape (H, W)."""
    palette: NDArray[np.uint8] | None
    """RGB by value, shape (N, 3) with N at most 256; None without a palette."""


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a frame: a PNG, JPEG or other file that Pillow reads, 8 bits a channel.

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
    return decode_image(_read_bytes(Path(path), "frame"), path)


def decode_image(
    content: bytes, place: str | Path, what: str = "frame", modes: Collection[str] = IMAGE_MODES, hint: str = TO_RGB
) -> NDArray[np.uint8]:
    """Decode the content of an image file to RGB, uint8, shape (H, W, 3).

    A DataError, which says `place` and `what` it is, is raised if the content is damaged or truncated, or of another
    Pillow mode than `modes`; then it ends with `hint`.
    """
    image = _decode(content, place, what, channels=3)
    if isinstance(image, np.ndarray):
        return image
    _check_pixel_format(_pixel_format(image, content), modes, f"{place}: the {what}", hint)
    return np.array(image.convert("RGB"))


def read_header(path: str | Path) -> ImageHeader:
    """Read what the file of a frame says of it before its pixels; raises as `read_image`."""
    path = Path(path)
    with _reading(path, "frame"), path.open("rb") as file:
        start = file.read(PNG_HEADER_BYTES)
        file.seek(0)
        with Image.open(file) as image:
            exif = image.getexif() if "exif" in image.info else {}
    _check_pixel_format(_pixel_format(image, start), IMAGE_MODES, f"{path}: the frame", TO_RGB)
    return ImageHeader(
        size=image.size,
        has_alpha=image.mode == "RGBA" or "transparency" in image.info,
        is_turned=exif.get(ExifTags.Base.Orientation, 1) != 1,
    )


def read_label_map(path: str | Path) -> LabelMap:
    """Read a PNG of one channel of at most 8 bits, with or without a palette, without asking what its values mean.

    A DataError says that the file is missing, damaged or truncated, has several channels or more than 8 bits, or is of
    a format that changes values.
    """
    content = _read_bytes(Path(path), "label map")
    image = _decode(content, path, "label map", channels=1)
    if isinstance(image, np.ndarray):
        return LabelMap(image, None)
    if image.format in LOSSY_FORMATS:
        raise DataError(
            f"{path}: the label map is a {image.format}, which changes class indices near their borders. Make it again "
            "from what it was made of, and save it as PNG."
        )
    pixel_format = _pixel_format(image, content)
    if pixel_format not in LABEL_MODES:
        if pixel_format == "LA":
            hint = "Remove the alpha channel."
        elif pixel_format.startswith(("I", "F", "1")):
            hint = "Store the indices in 8 bits."
        else:
            hint = "Convert colour labels to indices first, one index per class."
        raise DataError(
            f"{path}: the label map has the pixel format {pixel_format}, expected one 8-bit channel of class indices. "
            f"{hint}"
        )
    palette = image.getpalette("RGB") if image.mode == "P" else None
    return LabelMap(np.array(image), None if palette is None else np.array(palette, np.uint8).reshape(-1, 3))


def read_label(path: str | Path, num_classes: int) -> NDArray[np.uint8]:
    """Read a map of class indices, uint8, shape (H, W): 0 ... `num_classes` - 1, or 255 where a pixel is ignored.

    Raises what `read_label_map` does, and a DataError if a value is no class.
    """
    label = read_label_map(path).indices
    valid = (label < num_classes) | (label == IGNORE_INDEX)
    if not valid.all():
        row, column = np.argwhere(~valid)[0]
        raise DataError(
            f"{path}: label value {label[row, column]} at row {row}, column {column}; {allowed_values(num_classes)}. "
            f"Set such pixels to {IGNORE_INDEX}, or add the class to the classes sheet."
        )
    return label


def allowed_values(num_classes: int) -> str:
    """Return what label maps may hold, for errors."""
    return f"allowed are 0 to {num_classes - 1} (the {num_classes} classes) and {IGNORE_INDEX} (ignored)"


def read_size(path: str | Path) -> tuple[int, int]:
    """Return width and height of an image from its header; a DataError says that it is missing or no image."""
    with _reading(Path(path), "image"), Image.open(path) as image:
        return image.size


def _read_bytes(path: Path, what: str) -> bytes:
    with _reading(path, what):
        return path.read_bytes()


def _decode(content: bytes, place: str | Path, what: str, channels: int) -> NDArray[np.uint8] | Image.Image:
    """Decode the pixels of a plain PNG of so many channels, or what Pillow makes of any other file."""
    with _reading(Path(place), what):
        pixels = decode_png(content, channels)
        if pixels is not None:
            return pixels
        # Decoding passes over the checksums of a PNG's chunks; this compares them, and uses the image up.
        with Image.open(io.BytesIO(content)) as image:
            image.verify()
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            bits = _png_bits(content)
            # Pillow spreads the levels of few bits to 0 ... 255; a label map's are indices.
            if channels == 1 and image.mode in ("1", "L") and bits < 8:
                return np.asarray(image.convert("L")) // np.uint8(255 // (2**bits - 1))
            return image


def _png_bits(content: bytes) -> int:
    """Bits of a channel in a PNG file; 8 for any other file."""
    return content[24] if content[12:16] == b"IHDR" and len(content) > 24 else 8


def _pixel_format(image: Image.Image, content: bytes) -> str:
    """Return Pillow's mode, and that a channel has 16 bits where Pillow would drop half of them."""
    is_cut = _png_bits(content) == 16 and not image.mode.startswith("I")
    return f"{image.mode};16" if is_cut else image.mode


def _check_pixel_format(found: str, modes: Collection[str], subject: str, hint: str) -> None:
    if found not in modes:
        expected = "8-bit RGB or grey" if "L" in modes else "8-bit RGB or a palette"
        raise DataError(f"{subject} has the pixel format {found}, expected {expected}. {hint}")


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
