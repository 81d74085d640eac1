"""The evaluation protocol: decoded frames in, counts of metrics by reference distance out (docs/method.md)."""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from arseg import __version__
from arseg.ar import ClipPredictor
from arseg.data.manifest import read_manifest
from arseg.errors import ArsegError, ConfigError
from arseg.evaluate.complexity import gmacs_per_frame
from arseg.evaluate.result import Evaluation, EvaluationSettings
from arseg.metrics.iou import AbsentRule
from arseg.metrics.metric import Context, Metric
from arseg.metrics.metric import metrics as registered
from arseg.models.branch import Branch, load_branch
from arseg.models.device import resolve_device
from arseg.models.inference import labels_of
from arseg.progress import track
from arseg.spec import Mode, Role
from arseg.split import SplitFrames, SplitStores, open_split
from arseg.stages import STAGES
from arseg.workers import loader_options

logger = logging.getLogger(__name__)


def evaluate(
    *,
    stores: Sequence[str | Path],
    manifest: str | Path,
    mode: Mode,
    scale_percent: int,
    hr: str | Path | None,
    lr: str | Path | None,
    seed: int,
    device: str = "auto",
    workers: int = 2,
    absent: AbsentRule = "skip",
    metrics: Sequence[str] = (),
) -> Evaluation:
    """Return what metrics counted in the decoded frames of a split, at every reference distance.

    Parameters
    ----------
    stores : sequence of path
        Clip stores, one per distance 0 ... L - 1, of one or more shards of a split.
    manifest : path
        Manifest that the stores were made from.
    mode : {"hr", "lr", "warp", "ar"}
        HR branch on every frame, a constant low resolution, the keyframe's warped feature alone, or AR-Seg.
    scale_percent : int
        Resolution of the LR branch or baseline, in percent; 100 in modes "hr" and "warp".
    hr : path or None
        Checkpoint of the HR branch, for all modes but "lr".
    lr : path or None
        Checkpoint of the baseline for mode "lr", of phase 2 for mode "ar".
    seed : int
        Seed that the networks were trained with; it names the result, nothing is drawn here.
    device : str
        "auto", "cpu", or "cuda:N".
    workers : int
        Processes that read frames; 0 reads in this one. Changes no result.
    absent : {"skip", "nan"}
        What absent classes do in the mean, see `arseg.metrics.iou.mean_iou`.
    metrics : sequence of str
        Metrics beside mIoU, by their names in `arseg.metrics.metric.metrics`.

    Raises
    ------
    ConfigError
        If mode, scale, checkpoints or device do not go together, or a metric is not registered.
    CheckpointError
        If a checkpoint was made for another role, scale or set of classes.
    StoreError, DataError
        If stores, manifest and label maps do not fit, or some labels of the split are true and others are not.
    """
    _check_request(mode, scale_percent, hr, lr)
    measured = {name: registered.get(name)() for name in ("miou", *metrics)}
    torch_device = resolve_device(device)
    data = read_manifest(manifest)
    split = open_split(stores, data)
    load = partial(load_branch, class_names=data.class_names, device=torch_device)
    branches: dict[str, Branch] = {}  # the HR branch first, or a single network
    if hr is not None:
        branches["hr"] = load(hr, role="hr", scale_percent=100)
    if lr is not None:
        role: Role = "ar" if mode == "ar" else "lr"
        branches["lr"] = load(lr, role=role, scale_percent=scale_percent, beside=branches.get("hr"))
    main = branches.get("lr") or branches["hr"]
    stored = split.attributes
    if mode == "ar" and (difference := stored.encoding.motion.difference(main.motion)):  # an ablation may want that
        logger.warning("%s holds other motion than the LR branch was trained on: %s", stored.encoding.name, difference)
    if main.network.uses_evidence:
        split.require_evidence()
    frames = SplitFrames(split, data.num_classes, with_keyframes=mode in ("warp", "ar"))
    settings = EvaluationSettings(
        dataset=stored.dataset,
        split=stored.split,
        backbone=main.spec.backbone,
        encoding=stored.encoding,
        mode=mode,
        scale_percent=scale_percent,
        seed=seed,
        absent=absent,
        class_names=data.class_names,
        void=tuple(cls.void for cls in data.classes),
        manifest_digest=data.digest,
        num_shards=stored.num_shards,
        labelled_by=data.labelled_by(stored.split),
        checkpoints={name: branch.digest for name, branch in branches.items()},
        versions={"arseg": __version__, "evaluate": str(STAGES["evaluate"]), "torch": torch.__version__},
    )
    counts, num_frames, size = _count(
        ClipPredictor(*branches.values(), propagates=mode == "warp"),
        main,
        frames=frames,
        split=split,
        metrics=measured,
        context=settings.context,
        device=torch_device,
        workers=workers,
    )
    return Evaluation(
        settings=settings,
        shards=split.shards,
        counts=counts,
        num_frames=num_frames,
        gmacs_per_frame=gmacs_per_frame(
            main.spec.backbone,
            data.num_classes,
            *size,
            mode,
            scale_percent,
            stored.encoding.gop,
            main.spec.fusion,
            torch_device,
        )
        if size
        else float("nan"),
        encoders=split.encoders,
    )


def _check_request(mode: Mode, scale_percent: int, hr: str | Path | None, lr: str | Path | None) -> None:
    needed = {"hr": {"hr"}, "lr": {"lr"}, "warp": {"hr"}, "ar": {"hr", "lr"}}[mode]
    given = {name for name, path in (("hr", hr), ("lr", lr)) if path is not None}
    if given != needed:
        raise ConfigError(
            f"mode {mode}: expected the checkpoint(s) {', '.join(sorted(needed))}, found "
            f"{', '.join(sorted(given)) or 'none'}"
        )
    if mode in ("hr", "warp") and scale_percent != 100:
        raise ConfigError(f"scale_percent {scale_percent}: mode {mode} is full resolution, 100; use mode lr below")
    if not 1 <= scale_percent <= 100:
        raise ConfigError(f"scale_percent {scale_percent}: expected 1 to 100")


def _count(
    predictor: ClipPredictor,
    branch: Branch,
    *,
    frames: SplitFrames,
    split: SplitStores,
    metrics: Mapping[str, Metric],
    context: Context,
    device: torch.device,
    workers: int,
) -> tuple[dict[str, np.ndarray], np.ndarray, tuple[int, int] | None]:
    """Predict all frames; return each metric's counts (L, ...), frames (L,) and the frames' height and width."""
    gop = split.attributes.encoding.gop
    counts = {
        name: torch.from_numpy(np.stack([metric.empty(context)] * gop)).to(device) for name, metric in metrics.items()
    }
    num_frames = np.zeros(gop, dtype=np.int64)
    size = None
    # Batch 1, as published. A loader with no batches passes samples through and keeps their order.
    loader = DataLoader(
        frames,
        batch_size=None,
        pin_memory=device.type == "cuda",
        **loader_options(workers, len(frames), SplitFrames.__module__),
    )
    description = f"{split.attributes.dataset} {split.attributes.split}"
    started = time.monotonic()
    try:
        # TensorFloat-32 convolutions, the default on recent GPUs, would make scores depend on the GPU.
        with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for frame in track(loader, description, len(frames)):
                if isinstance(frame, ArsegError):
                    raise frame
                scores = predictor(
                    _to_batch(frame.image, device),
                    None if frame.keyframe is None else _to_batch(frame.keyframe, device),
                    None if frame.motion_qpel is None else _to_batch(frame.motion_qpel, device),
                    None if frame.evidence is None else _to_batch(frame.evidence, device),
                )
                label = _to_batch(frame.label, device)
                if size is None and (difference := branch.size_difference(label.shape[2], label.shape[1])):
                    logger.warning("%s: %s", description, difference)
                predicted = labels_of(scores)
                for name, metric in metrics.items():
                    metric.update(counts[name][frame.distance], label, predicted, context)
                num_frames[frame.distance] += 1
                size = (label.shape[1], label.shape[2])
    finally:
        frames.close()
    seconds = time.monotonic() - started
    logger.info(
        "%s: %d frames in %.1f s, %.2f frames/s on %s",
        description,
        len(frames),
        seconds,
        len(frames) / seconds,
        device,
    )
    return {name: kept.cpu().numpy() for name, kept in counts.items()}, num_frames, size


def _to_batch(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor[None].to(device, non_blocking=True)
