"""Check what was made of CamVid: frames are whole, and a still is the same image as its decoded frame."""

import logging
from collections import defaultdict
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arseg.data.archives import ImageSource
from arseg.data.images import decode_image, read_image, read_size
from arseg.datasets.camvid.manifest import PUBLISHED_GOP, CamVidSequence, find_images, parse_still, read_sequences
from arseg.errors import DataError
from arseg.progress import track

logger = logging.getLogger(__name__)

NUM_SAMPLES = 8
"""Stills of each sequence that are compared with decoded frames."""

MAX_SHIFT = 3
"""The decoded frames this far before and after are compared, too."""

MAX_DIFFERENCE = 16.0
"""Mean absolute difference of 8-bit values up to which images are alike. Another colour matrix makes a few units,
another street several tens."""

Still = tuple[int, PurePosixPath, Path]
"""The number of the decoded frame that a still is, its place in the source, and its label map."""


def verify_camvid(
    frames: str | Path, stills: str | Path, labels: str | Path, sequences: str | Path
) -> dict[str, dict[str, Any]]:
    """Check decoded frames, stills and labels against one another; return what was found, by sequence.

    The paths are those that `arseg.datasets.camvid.manifest.camvid_manifest` takes. Of each sequence, some stills are
    compared with the decoded frames that should be the same images and with those around them: an error in the
    numbering shows as a better match at another place. A DataError says that frames are missing, sizes differ, a still
    occurs twice or has no label, or stills and frames are not the same images.
    """
    table = read_sequences(sequences)
    source = ImageSource(stills)
    places: dict[str, list[Still]] = defaultdict(list)
    for name, member in find_images(source, labels=False).items():
        sequence, number = parse_still(name, table)
        label = Path(labels) / f"{name}.png"
        places[sequence.name].append((sequence.decoded(number), member, label))
        if not label.is_file():
            raise DataError(f"{label}: no such label map, for the still {name} in {stills}")
    report = {}
    for name, sequence in table.items():
        if not places[name]:
            raise DataError(f"{stills}: holds no still of {name}. Give the stills of all sequences in {sequences}.")
        report[name] = _verify_sequence(sequence, Path(frames) / name, sorted(places[name]), source, sequences)
    return report


def _verify_sequence(
    sequence: CamVidSequence, folder: Path, stills: list[Still], source: ImageSource, sequences: str | Path
) -> dict[str, Any]:
    last, *_ = stills[-1]
    num_frames = _count_frames(folder, sequence, last)
    if num_frames - last < PUBLISHED_GOP - 1:
        logger.warning(
            f"{folder}: {num_frames - last} frames follow the last still, {PUBLISHED_GOP - 1} are needed for whole "
            f"clips of {PUBLISHED_GOP}. Where clips do not fit, set clip_tail: annotated"
        )
    size = read_size(_frame(folder, 1))
    for _, _, label in stills:
        _check_size(label, read_size(label), sequence, size)
    chosen = np.unique(np.linspace(0, len(stills) - 1, NUM_SAMPLES).round().astype(int))
    indices = {member: index for index, member, _ in (stills[place] for place in chosen)}
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    found = []
    for member, content in track(source.read(list(indices)), sequence.name, len(indices)):
        still = decode_image(content, f"{source.path}: {member}", "still")
        _check_size(source.path / member, (still.shape[1], still.shape[0]), sequence, size)
        around = [indices[member] + shift for shift in shifts]
        if around[0] >= 1 and around[-1] <= num_frames:  # at an end of the video there is nothing to compare with
            found.append([np.abs(read_image(_frame(folder, at)).astype(np.int16) - still).mean() for at in around])
    if not found:
        raise DataError(f"{folder}: none of the stills has {MAX_SHIFT} decoded frames before and after it to compare")
    differences = np.mean(found, axis=0)
    _check_numbering(sequence, differences, sequences)
    return {
        "frames": num_frames,
        "stills": len(stills),
        "width": size[0],
        "height": size[1],
        "frames_after_last_still": num_frames - last,
        "frames_needed_after_it": PUBLISHED_GOP - 1,
        "compared": len(found),
        "mean_difference": round(float(differences[MAX_SHIFT]), 3),
        "mean_difference_of_next_best": round(float(np.delete(differences, MAX_SHIFT).min()), 3),
    }


def _count_frames(folder: Path, sequence: CamVidSequence, last: int) -> int:
    found = {path.name for path in folder.glob(f"{sequence.name}_*.png")} if folder.is_dir() else set()
    if not found:
        raise DataError(f"{folder}: holds no decoded frames of {sequence.name}. Make them: arseg camvid frames ...")
    for index in range(1, max(len(found), last) + 1):
        if _frame(folder, index).name not in found:
            raise DataError(
                f"{_frame(folder, index)}: no such frame; {len(found)} are there, and the last still is frame {last}. "
                f"Decode the whole of {sequence.video} again."
            )
    return len(found)


def _check_size(place: Path, found: tuple[int, int], sequence: CamVidSequence, size: tuple[int, int]) -> None:
    if found != size:
        raise DataError(
            f"{place}: {found[0]}x{found[1]} pixels, the decoded frames of {sequence.name} have {size[0]}x{size[1]}. "
            "Stills, labels and video must have one size."
        )


def _check_numbering(sequence: CamVidSequence, differences: NDArray[np.float64], sequences: str | Path) -> None:
    best = int(differences.argmin()) - MAX_SHIFT
    least, there = differences.min(), differences[MAX_SHIFT]
    if least > MAX_DIFFERENCE:
        raise DataError(
            f"{sequence.name}: decoded frames and stills are different images: they differ by {there:.1f} of 255 on "
            f"average, and by {least:.1f} at best. "
            f"Check that {sequence.video} is the video of these stills, and first_decoded in {sequences}."
        )
    if least < there:
        where = "later" if best > 0 else "earlier"
        beyond = ", and verify again, as they may lie farther still" if abs(best) == MAX_SHIFT else ""
        raise DataError(
            f"{sequence.name}: stills match decoded frames {abs(best)} {where} than {sequences} says "
            f"(mean difference {least:.2f} instead of {there:.2f}). Your "
            f"FFmpeg numbers {sequence.video} differently: set first_decoded of {sequence.name} to "
            f"{sequence.first_decoded + best} in a copy of that sheet, and name it as source.sequences{beyond}."
        )


def _frame(folder: Path, index: int) -> Path:
    return folder / f"{folder.name}_{index:06d}.png"
