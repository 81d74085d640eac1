"""The qualitative panel: what goes into a fused frame, and what the three protocols make of it.

This module chooses samples and predicts them; `arseg.plots.panel_drawing` draws them.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from arseg.ar import ClipPredictor
from arseg.config import IGNORE_INDEX
from arseg.data.manifest import Manifest, read_manifest
from arseg.errors import DataError, StoreError
from arseg.models.branch import load_branch
from arseg.models.device import resolve_device
from arseg.models.inference import labels_of
from arseg.plots.panel_drawing import PanelRow, draw_panel
from arseg.progress import track
from arseg.split import SplitStores, open_stores, read_clip_label
from arseg.store import ClipStore

MAX_CANDIDATES = 40
"""Samples that are predicted to choose from, evenly spaced over the split."""


def qualitative_panel(
    *,
    stores: Sequence[str | Path],
    manifest: str | Path,
    hr_path: str | Path,
    lr_path: str | Path,
    ar_path: str | Path,
    output: str | Path,
    device: str = "auto",
    indices: Sequence[int] | None = None,
    num_rows: int = 3,
) -> None:
    """Draw samples with keyframe, motion, label, and the predictions of HR, LR and AR.

    Parameters
    ----------
    stores : sequence of path
        Clip stores of one split at one distance, usually the largest, L - 1.
    manifest : path
        Manifest that the stores were made from.
    hr_path, lr_path, ar_path : path
        Checkpoints of the HR branch, the constant-resolution baseline, and phase 2; the last two trained at one
        scale.
    output : path
        Figure to write, for example a PNG.
    device : str
        "auto", "cpu", or "cuda:N".
    indices : sequence of int, optional
        Samples to show, counted in the order of sequence and keyframe; by default those where AR gains most
        pixels over LR, from different videos where there are enough.
    num_rows : int
        How many samples to show where `indices` does not say.

    Raises
    ------
    StoreError, DataError, CheckpointError
        If stores, manifest, checkpoints and indices do not fit.
    """
    data = read_manifest(manifest)
    split = open_stores(stores, data)
    _check_samples(split, indices)
    labelled_by = data.labelled_by(split.attributes.split)
    torch_device = resolve_device(device)
    hr = load_branch(hr_path, role="hr", scale_percent=100, class_names=data.class_names, device=torch_device)
    ar = load_branch(
        ar_path, role="ar", scale_percent=None, class_names=data.class_names, device=torch_device, beside=hr
    )
    lr = load_branch(
        lr_path, role="lr", scale_percent=ar.spec.scale_percent, class_names=data.class_names, device=torch_device
    )
    if ar.network.uses_evidence:
        split.require_evidence()
    predictors = {"hr": ClipPredictor(hr), "lr": ClipPredictor(lr), "ar": ClipPredictor(hr, ar)}
    if indices is None:
        indices = _choose(_gains(split, data, predictors, torch_device), split, num_rows)
    rows = [_predict(split, index, data, predictors, torch_device) for index in indices]
    draw_panel(rows, data, ar.spec.scale_percent, split.attributes.distance, output, labelled_by=labelled_by)


def _check_samples(split: SplitStores, indices: Sequence[int] | None) -> None:
    place = f"{split.attributes.dataset} {split.attributes.split}"
    distances = sorted({distance for _, distance in split.places})
    if len(distances) > 1 or distances[0] == 0:
        raise StoreError(
            f"{place}: stores at distances {', '.join(map(str, distances))}; a panel shows one distance above "
            f"0. Give the stores at distance {split.attributes.encoding.gop - 1}."
        )
    if not split.samples:
        raise StoreError(f"{place}: the stores have no samples to show. Give all shards of the split.")
    for index in indices or ():
        if not 0 <= index < len(split.samples):
            raise DataError(f"{place}: no sample {index}; the stores have 0 to {len(split.samples) - 1}")


def _predict(
    split: SplitStores, index: int, manifest: Manifest, predictors: dict[str, ClipPredictor], device: torch.device
) -> PanelRow:
    sample = split.samples[index]
    with ClipStore(split.paths[sample.store_index]) as store:
        clip = store.read(sample.index)
    label = read_clip_label(clip, manifest.num_classes)
    inputs = [torch.from_numpy(array)[None].to(device) for array in (clip.frame, clip.keyframe, clip.motion_qpel)]
    if clip.evidence is not None:
        inputs.append(torch.from_numpy(clip.evidence)[None].to(device))
    with torch.inference_mode():
        predicted = {role: labels_of(predict(*inputs))[0].cpu().numpy() for role, predict in predictors.items()}
    unscored = [IGNORE_INDEX, *(cls.index for cls in manifest.classes if cls.void)]
    return PanelRow(clip=clip, label=label, scored=~np.isin(label, unscored), **predicted)


def _gains(
    split: SplitStores, manifest: Manifest, predictors: dict[str, ClipPredictor], device: torch.device
) -> dict[int, int]:
    """Pixels that AR gains over LR, by sample; the pictures are not kept, they would fill the memory."""
    count = min(MAX_CANDIDATES, len(split.samples))
    candidates = np.unique(np.linspace(0, len(split.samples) - 1, count).round().astype(int)).tolist()
    return {
        index: int(_predict(split, index, manifest, predictors, device).gain.sum(dtype=np.int64))
        for index in track(candidates, "panel candidates")
    }


def _choose(gains: dict[int, int], split: SplitStores, count: int) -> list[int]:
    """Take the samples where AR gains most, the best of each video before the second best of any."""
    ranks: Counter[str] = Counter()
    order = []
    for index in sorted(gains, key=lambda index: -gains[index]):
        sequence = split.samples[index].identity.sequence
        order.append((ranks[sequence], -gains[index], index))
        ranks[sequence] += 1
    return [index for _, _, index in sorted(order)[:count]]
