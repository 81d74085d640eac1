"""Turn a tree of the authors' processed data into a manifest and clip stores, which all later stages read.

Nothing is encoded or decoded here: pictures and motion are taken as they are. What a tree holds is found in
`arseg.data.authors_samples`.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arseg.access import reading
from arseg.data.authors_samples import AuthorsSample, DistanceFiles, list_samples
from arseg.data.authors_tree import TREES, AuthorsDataset, AuthorsTree
from arseg.data.checks import check_files
from arseg.data.clips import store_path
from arseg.data.images import read_image
from arseg.data.manifest import ManifestRow, read_manifest, write_manifest
from arseg.datasets.camvid.manifest import camvid_classes
from arseg.datasets.cityscapes.labels import check_label_ids, convert_label_map
from arseg.datasets.cityscapes.manifest import cityscapes_classes
from arseg.errors import DataError, MotionError, StoreError
from arseg.progress import track
from arseg.spec import SegmentationClass
from arseg.store import IMPORTED_ENCODER, ClipIdentity, ClipStore, StoreAttributes, create_stores

CLASSES: dict[AuthorsDataset, Callable[[], tuple[SegmentationClass, ...]]] = {
    "camvid": camvid_classes,
    "cityscapes": cityscapes_classes,
}

BYTES_PER_PIXEL = 4
"""Two int16 a pixel, in files of motion."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportedClips:
    """What an import has made, or found made."""

    manifest: Path
    """Manifest of the split."""
    stores: tuple[Path, ...]
    """Clip stores, in order of distance."""


class _Arrays(NamedTuple):
    """What is stored of one sample."""

    picture: NDArray[np.uint8]
    keyframe: NDArray[np.uint8]
    motion_qpel: NDArray[np.int16]


def import_authors_clips(
    root: str | Path,
    *,
    dataset: AuthorsDataset,
    split: str,
    output: str | Path,
    distances: Sequence[int] | None = None,
) -> ImportedClips:
    """Write the manifest and the clip stores of one split of the authors' processed data.

    The manifest's rows are stills, because a tree holds no video around its annotated frames: their images are the
    decoded frames of the smallest distance. Frames that the published programs use at d = 0 only (CamVid's
    Seq05VD_f00000) have ``max_distance`` 0.

    A store is written whole or not at all; a finished one of the same manifest is kept, so that an import which was
    interrupted goes on where it stopped. Memory holds one sample.

    Existing trees have a defect that cannot be fixed (docs/method.md, 'Fixed'): clips of different lengths that start
    at one frame share one keyframe, that of the last one written.

    Parameters
    ----------
    root : path
        The tree: the folder that is named for bitrate and GOP, like ``camvid-sequence/3M-GOP12``.
    dataset : {"camvid", "cityscapes"}
        Data set.
    split : str
        Name of the split's folders, which becomes the split's name.
    output : path
        Folder for ``manifest.csv``, ``manifest.classes.csv``, the stores ``d00.h5`` ..., and, for Cityscapes,
        ``labels`` with train ids.
    distances : sequence of int, optional
        Distances to make stores for; by default all, 0 ... L - 1.

    Returns
    -------
    imported : ImportedClips

    Raises
    ------
    ConfigError
        If a distance is out of range.
    DataError
        If a folder, picture, keyframe or label map is missing, unreadable, of another size or of an unknown name.
    MotionError
        If a file of motion has not the length that its frame's size asks for.
    StoreError
        If the frames are not all of one size.
    """
    tree, output = TREES[dataset](root), Path(output)
    wanted = sorted(set(range(tree.gop) if distances is None else distances))
    samples = list_samples(tree, split, wanted)
    if dataset == "cityscapes":
        check_label_ids([sample.label for sample in samples])
    labels = {sample.name: _index_label(sample, dataset, output) for sample in track(samples, "labels")}
    manifest = output / "manifest.csv"
    rows = [_row(dataset, split, sample, labels[sample.name]) for sample in samples]
    check_files(rows, CLASSES[dataset]())
    write_manifest(manifest, rows, CLASSES[dataset]())
    digest = read_manifest(manifest).digest
    stores = []
    for distance in wanted:
        path = store_path(output, distance)
        attributes = _attributes(tree, split, distance, digest)
        if _is_finished(path, attributes):
            logger.info("%s: is there already", path)
        else:
            at_distance = [sample for sample in samples if distance in sample.files]
            _write_store(path, attributes, at_distance, labels)
        stores.append(path)
    return ImportedClips(manifest, tuple(stores))


def _row(dataset: str, split: str, sample: AuthorsSample, label: Path) -> ManifestRow:
    return ManifestRow(
        dataset=dataset,
        split=split,
        sequence=sample.sequence,
        frame_index=sample.frame_index,
        image=str(sample.image),
        label=str(label),
        frame_pattern="",
        frame_step=0,
        max_distance=sample.max_distance,
    )


def _attributes(tree: AuthorsTree, split: str, distance: int, digest: str) -> StoreAttributes:
    return StoreAttributes(
        dataset=tree.dataset,
        split=split,
        manifest_digest=digest,
        encoding=tree.encoding,
        distance=distance,
        shard=0,
        num_shards=1,
        encoder=IMPORTED_ENCODER,
    )


def _is_finished(path: Path, attributes: StoreAttributes) -> bool:
    """Whether a store is there that says of itself what it should; the version of arseg may be another."""
    try:
        with ClipStore(path) as store:
            found = store.attributes
    except StoreError:
        return False
    names = {field.name for field in fields(StoreAttributes)} - {"arseg_version"}
    return all(getattr(found, name) == getattr(attributes, name) for name in names)


def _write_store(
    path: Path, attributes: StoreAttributes, samples: Sequence[AuthorsSample], labels: dict[str, Path]
) -> None:
    distance = attributes.distance
    identities = [
        ClipIdentity(
            sequence=sample.sequence,
            frame_index=sample.frame_index,
            keyframe_index=sample.frame_index - distance,
            image=str(sample.image),
            keyframe_image=str(sample.files[distance].keyframe or sample.image),
            label=str(labels[sample.name]),
        )
        for sample in samples
    ]
    with create_stores({path: (attributes, identities)}) as writers:
        for index, sample in enumerate(track(samples, f"distance {distance}")):
            arrays = _read_arrays(sample.files[distance])
            writers[path].write(
                index,
                keyframe=arrays.keyframe,
                frame=arrays.picture,
                motion_qpel=arrays.motion_qpel,
                intra=None,  # the authors did not keep which blocks are intra-coded
            )


def _read_arrays(files: DistanceFiles) -> _Arrays:
    picture = read_image(files.picture)
    height, width = picture.shape[:2]
    if files.keyframe is None or files.motion is None:
        return _Arrays(picture, picture, np.zeros((height, width, 2), dtype=np.int16))
    keyframe = read_image(files.keyframe)
    if keyframe.shape != picture.shape:
        raise DataError(
            f"{files.keyframe}: the keyframe has {keyframe.shape[1]}x{keyframe.shape[0]} pixels, its frame "
            f"{files.picture} has {width}x{height}. Take both from one run of the authors' programs."
        )
    return _Arrays(picture, keyframe, _read_motion(files.motion, height, width))


def _read_motion(path: Path, height: int, width: int) -> NDArray[np.int16]:
    """Motion of a frame, int16 quarter pixels (x, y), shape (H, W, 2)."""
    with reading(path):
        content = path.read_bytes()
    found, expected = len(content), height * width * BYTES_PER_PIXEL
    if found != expected:
        raise MotionError(
            f"{path}: has {found} bytes, expected {expected}: two int16 for each of the {width}x{height} pixels of its "
            "frame. Copy it again, or run the authors' program for this frame."
        )
    return np.frombuffer(content, dtype="<i2").reshape(height, width, 2).astype(np.int16, copy=False)


def _index_label(sample: AuthorsSample, dataset: AuthorsDataset, output: Path) -> Path:
    """Return the path of a sample's class indices; label ids are turned into train ids."""
    if dataset == "camvid":
        return sample.label
    converted = output / "labels" / f"{sample.name}_gtFine_labelTrainIds.png"
    if not converted.is_file():
        convert_label_map(sample.label, converted)
    return converted
