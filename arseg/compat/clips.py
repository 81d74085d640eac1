"""Turn a tree of the published programs into a manifest and clip stores: frames and motion are taken as they are."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from arseg.access import reading
from arseg.compat.naming import Dataset
from arseg.compat.tree import PublishedSample, PublishedTree, SampleFiles
from arseg.data.checks import check_files
from arseg.data.clips import store_path
from arseg.data.images import read_image
from arseg.data.manifest import read_manifest, write_manifest
from arseg.datasets.cityscapes.labels import check_label_ids, convert_label_map
from arseg.errors import DataError, MotionError, StoreError
from arseg.progress import track
from arseg.store import IMPORTED_ENCODER, ClipIdentity, ClipStore, StoreAttributes
from arseg.store_writer import create_stores

logger = logging.getLogger(__name__)


class ImportedClips(NamedTuple):
    """The manifest of a split and its clip stores, in order of distance, made now or before."""

    manifest: Path
    stores: tuple[Path, ...]


def import_published_clips(
    root: str | Path,
    *,
    dataset: Dataset,
    split: str,
    output: str | Path,
    distances: Sequence[int] | None = None,
) -> ImportedClips:
    """Write the manifest and the clip stores of one split of a tree of the published programs.

    The manifest's rows are stills, because a tree holds no video around its annotated frames: their images are the
    decoded frames of the smallest distance. Frames that the published programs use at d = 0 only (CamVid's
    Seq05VD_f00000) have ``max_distance`` 0.

    A store is written whole or not at all; a finished one of the same manifest is kept, so that an import which was
    interrupted continues where it stopped. Memory holds one sample.

    Existing trees have a defect that cannot be fixed (docs/method.md, 'Fixed'): clips of different lengths that start
    at one frame share one keyframe, that of the last one written.

    `root` is the folder that is named for bitrate and GOP, like ``camvid-sequence/3M-GOP12``; a split is named as its
    folders are. `output` gets ``manifest.csv``, ``manifest.classes.csv``, the stores ``d00.h5`` ... of the distances,
    by default all, and, for Cityscapes, ``labels`` with train ids.

    A ConfigError says that a distance is out of range; a DataError, MotionError or StoreError which file of the tree is
    missing, unreadable, of an unknown name, or of another size or length than others.
    """
    tree, output = PublishedTree(root, dataset), Path(output)
    wanted = sorted(set(range(tree.gop) if distances is None else distances))
    samples = tree.samples(split, wanted)
    if dataset == "cityscapes":
        check_label_ids([Path(sample.row.label) for sample in samples])
        samples = [_with_train_ids(sample, output) for sample in track(samples, "labels")]
    manifest, classes, rows = output / "manifest.csv", tree.layout.classes(), [sample.row for sample in samples]
    check_files(rows, classes)
    write_manifest(manifest, rows, classes)
    digest = read_manifest(manifest).digest
    stores = []
    for distance in wanted:
        path = store_path(output, distance)
        attributes = StoreAttributes(
            dataset=dataset,
            split=split,
            manifest_digest=digest,
            encoding=tree.encoding,
            distance=distance,
            shard=0,
            num_shards=1,
            encoder=IMPORTED_ENCODER,
        )
        if _is_finished(path, attributes):
            logger.info("%s: is there already", path)
        else:
            _write_store(path, attributes, [sample for sample in samples if distance in sample.files])
        stores.append(path)
    return ImportedClips(manifest, tuple(stores))


def _with_train_ids(sample: PublishedSample, output: Path) -> PublishedSample:
    """Return the sample with its label ids turned into train ids, unless a former import did so."""
    source = Path(sample.row.label)
    converted = output / "labels" / source.name.replace("labelIds", "labelTrainIds")
    if not converted.is_file():
        convert_label_map(source, converted)
    return sample._replace(row=replace(sample.row, label=str(converted)))


def _is_finished(path: Path, attributes: StoreAttributes) -> bool:
    """Return whether a store is there that says of itself what it should; the version of arseg may be another."""
    try:
        with ClipStore(path) as store:
            found = store.attributes
    except StoreError:
        return False
    return replace(found, arseg_version=attributes.arseg_version) == attributes


def _write_store(path: Path, attributes: StoreAttributes, samples: Sequence[PublishedSample]) -> None:
    distance = attributes.distance
    identities = [
        ClipIdentity(
            sequence=row.sequence,
            frame_index=row.frame_index,
            keyframe_index=row.frame_index - distance,
            image=row.image,
            keyframe_image=str(files[distance].keyframe or row.image),
            label=row.label,
        )
        for row, files in samples
    ]
    with create_stores({path: (attributes, identities)}) as writers:
        for index, sample in enumerate(track(samples, f"distance {distance}")):
            frame, keyframe, motion_qpel = _read_arrays(sample.files[distance])
            # The published programs did not keep which blocks are intra-coded.
            writers[path].write(index, keyframe=keyframe, frame=frame, motion_qpel=motion_qpel, intra=None)


def _read_arrays(files: SampleFiles) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int16]]:
    """Return frame, keyframe and motion of a sample."""
    frame = read_image(files.frame)
    height, width = frame.shape[:2]
    if files.keyframe is None or files.motion is None:
        return frame, frame, np.zeros((height, width, 2), dtype=np.int16)
    keyframe = read_image(files.keyframe)
    if keyframe.shape != frame.shape:
        raise DataError(
            f"{files.keyframe}: the keyframe has {keyframe.shape[1]}x{keyframe.shape[0]} pixels, its frame "
            f"{files.frame} has {width}x{height}. Take both from one run of the published programs."
        )
    return frame, keyframe, _read_motion(files.motion, height, width)


def _read_motion(path: Path, height: int, width: int) -> NDArray[np.int16]:
    """Return the motion of a frame, quarter pixels (x, y), shape (H, W, 2)."""
    with reading(path):
        content = path.read_bytes()
    if len(content) != (expected := height * width * 4):
        raise MotionError(
            f"{path}: has {len(content)} bytes, expected {expected}: two int16 for each of the {width}x{height} pixels "
            "of its frame. Copy it again, or run the published program for this frame."
        )
    return np.frombuffer(content, dtype="<i2").reshape(height, width, 2).astype(np.int16, copy=False)
