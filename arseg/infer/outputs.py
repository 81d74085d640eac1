"""Where segmented frames go: videos, palette PNGs, raw labels in HDF5, a table of areas, annotations.

Each writer is a context manager that yields a function to call for each frame. Its file gets its name when the block
ends without an error, so that what has a name is whole; PNGs get theirs one by one.
"""

import csv
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from arseg import __version__
from arseg.codec.video_writer import DEFAULT_VIDEO, Origin, VideoOptions, create_video
from arseg.errors import ConfigError
from arseg.files import atomic_path, refuse_filled
from arseg.hdf5 import create_file, write_attributes
from arseg.infer.annotations import Write, check_coco, frame_name, write_coco, write_cvat
from arseg.infer.segment import FrameInfo
from arseg.spec import SegmentationClass

VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov")
LABEL_SUFFIXES = (".h5", ".hdf5")
AREA_SUFFIX = ".csv"
COCO_SUFFIX = ".json"
CVAT_SUFFIX = ".zip"
FORMAT_VERSION = 1
"""Of the HDF5 file; raised when the layout changes so that older programs cannot read it."""

NO_ORIGIN = Origin()

AXES = {
    "labels": "frame, row, column; class index",
    "index": "frame; number among the video's frames that are shown",
    "seconds": "frame; time at which it is shown",
    "distance": "frame; frames since its keyframe, 0 at a keyframe",
    "is_damaged": "frame; true where it may be wrong: parts are missing and guessed, or it depends on such a frame",
}
"""Axis order and unit of each dataset of the HDF5 file, stored as its attribute ``axes``."""


def open_output(
    path: Path,
    classes: Sequence[SegmentationClass],
    alpha: float = 0.5,
    options: VideoOptions = DEFAULT_VIDEO,
    origin: Origin = NO_ORIGIN,
) -> AbstractContextManager[Write]:
    """Return the writer of an output, chosen by its name.

    A video shows the frames under the colours of the classes, with opacity `alpha` (0 ... 1), at their own times, with
    the sound of their `origin`. Raises what `check_outputs` does.
    """
    check_outputs([path], alpha)
    suffix = path.suffix.lower()
    if suffix in VIDEO_SUFFIXES:
        return _video(path, classes, alpha, options, origin)
    if suffix in LABEL_SUFFIXES:
        return _labels(path, classes)
    writers = {AREA_SUFFIX: _areas, COCO_SUFFIX: write_coco, CVAT_SUFFIX: write_cvat}
    return writers.get(suffix, _palette_pngs)(path, classes)


def check_outputs(paths: Sequence[Path], alpha: float) -> None:
    """Refuse outputs that `open_output` could not write, before there is anything to write.

    A ConfigError says that a name does not tell what to write, a folder is a file, two outputs are one, `alpha` is no
    share, or a package is missing; a FileAccessError, that a folder has something in it.
    """
    if not 0 <= alpha <= 1:
        raise ConfigError(f"--alpha {alpha}: must be between 0 (frames) and 1 (labels)")
    for path in paths:
        suffix = path.suffix.lower()
        if suffix not in ("", AREA_SUFFIX, COCO_SUFFIX, CVAT_SUFFIX, *LABEL_SUFFIXES, *VIDEO_SUFFIXES):
            raise ConfigError(
                f"--output {path}: cannot tell what to write from {suffix}. Name a video "
                f"({', '.join(VIDEO_SUFFIXES)}), labels ({', '.join(LABEL_SUFFIXES)}), areas ({AREA_SUFFIX}), "
                f"annotations for COCO ({COCO_SUFFIX}) or CVAT ({CVAT_SUFFIX}), or a folder for PNGs"
            )
        if not suffix and path.is_file():
            raise ConfigError(f"--output {path}: a name without suffix is a folder for PNGs, and this is a file")
        if paths.count(path) > 1:
            raise ConfigError(f"--output {path}: is named twice")
        if suffix == COCO_SUFFIX:
            check_coco(path)
        refuse_filled(path)


def overlay(
    frame: NDArray[np.uint8], labels: NDArray[np.uint8], palette: NDArray[np.uint8], alpha: float
) -> NDArray[np.uint8]:
    """Return a frame (H, W, 3) under the colours of its labels (H, W), taken from a palette (K, 3); all uint8."""
    weight = np.uint16(round(256 * alpha))
    colors = palette.astype(np.uint16) * weight  # once for each class instead of for each pixel
    return ((frame * (np.uint16(256) - weight) + colors[labels]) >> 8).astype(np.uint8)


def palette_of(classes: Sequence[SegmentationClass]) -> NDArray[np.uint8]:
    """Colours of classes, shape (K, 3)."""
    return np.array([cls.color for cls in classes], np.uint8)


@contextmanager
def _video(
    path: Path, classes: Sequence[SegmentationClass], alpha: float, options: VideoOptions, origin: Origin
) -> Iterator[Write]:
    palette = palette_of(classes)
    with create_video(path, origin, options) as video:

        def write(frame: NDArray[np.uint8], labels: NDArray[np.uint8], info: FrameInfo) -> None:
            video.write(overlay(frame, labels, palette, alpha), info.seconds)

        yield write


@contextmanager
def _palette_pngs(folder: Path, classes: Sequence[SegmentationClass]) -> Iterator[Write]:
    # All 256 colours make a byte of each pixel; with fewer, pixels have 1, 2 or 4 bits, which not every tool reads.
    palette = palette_of(classes).tobytes().ljust(256 * 3, b"\0")

    def write(frame: NDArray[np.uint8], labels: NDArray[np.uint8], info: FrameInfo) -> None:
        image = Image.fromarray(labels, mode="P")
        image.putpalette(palette)
        with atomic_path(folder / frame_name(info)) as temporary:
            image.save(temporary)

    yield write


@contextmanager
def _labels(path: Path, classes: Sequence[SegmentationClass]) -> Iterator[Write]:
    with atomic_path(path) as temporary, create_file(temporary) as file:
        write_attributes(file, {"format_version": FORMAT_VERSION, "arseg_version": __version__, "complete": False})
        write_attributes(file, {"classes": "\n".join(cls.name for cls in classes)})
        file["palette"] = palette_of(classes)
        size: tuple[int, ...] = ()

        def write(frame: NDArray[np.uint8], labels: NDArray[np.uint8], info: FrameInfo) -> None:
            nonlocal size
            if labels.shape != size:  # each part of the video that has one size is a group of its own
                size = labels.shape
                part = file.create_group(f"part{len(file) - 1}")
                checked = {"fletcher32": True, "shuffle": True, "compression": "gzip", "compression_opts": 4}
                part.create_dataset(
                    "labels", (0, *size), np.uint8, maxshape=(None, *size), chunks=(1, *size), **checked
                )
                kinds = {"index": np.int64, "seconds": np.float64, "distance": np.int32, "is_damaged": np.bool_}
                for name, kind in kinds.items():
                    part.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(1024,), **checked)
                for name, axes in AXES.items():
                    write_attributes(part[name], {"axes": axes})
            part = file[f"part{len(file) - 2}"]
            values = {"labels": labels} | {name: getattr(info, name) for name in AXES if name != "labels"}
            for name, value in values.items():
                part[name].resize(len(part[name]) + 1, axis=0)
                part[name][-1] = value
            file.raise_failure()

        yield write
        file.attrs["complete"] = True


@contextmanager
def _areas(path: Path, classes: Sequence[SegmentationClass]) -> Iterator[Write]:
    with atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(
            ["index", "seconds", "distance", "keyframe_reason", "is_damaged", *(cls.name for cls in classes)]
        )

        def write(frame: NDArray[np.uint8], labels: NDArray[np.uint8], info: FrameInfo) -> None:
            shares = np.bincount(labels.ravel(), minlength=len(classes)) / labels.size
            place = [info.index, f"{info.seconds:.3f}", info.distance, info.keyframe_reason, int(info.is_damaged)]
            table.writerow([*place, *(f"{share:.6f}" for share in shares)])

        yield write
