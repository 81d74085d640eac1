"""The HR branch as the teacher of frames without labels: its classes become label maps."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from arseg.ar import ConstantResolution
from arseg.config import IGNORE_INDEX
from arseg.data.images import read_image
from arseg.data.manifest import write_classes
from arseg.datasets.videos.manifest import CLASSES
from arseg.datasets.videos.sampling import read_samples
from arseg.errors import CheckpointError, DataError
from arseg.files import atomic_path
from arseg.models.branch import Branch, load_branch
from arseg.models.device import resolve_device
from arseg.models.pixels import normalize
from arseg.progress import track


def load_teacher(checkpoint: str | Path, device: torch.device) -> Branch:
    """Return an HR branch that labels frames; a CheckpointError says that it is none, or its classes have no names."""
    branch = load_branch(checkpoint, role="hr", scale_percent=100, class_names=None, device=device)
    if not branch.spec.classes:
        raise CheckpointError(
            f"{checkpoint}: does not say what its classes are called and which colours they have, so that its labels "
            "would be numbers alone. Make it with a sheet of classes: arseg checkpoint create ... --classes SHEET.csv"
        )
    return branch


def label_samples(
    frames: str | Path, checkpoint: str | Path, output: str | Path, *, confidence: float = 0.5, device: str = "auto"
) -> float:
    """Label sampled frames by an HR branch.

    Parameters
    ----------
    frames : path
        Folder that `arseg.datasets.videos.sampling.write_samples` wrote.
    checkpoint : path
        HR branch.
    output : path
        Folder to write, whole or not at all: a label map for each sampled frame, and the sheet of classes.
    confidence : float
        Pixels whose likeliest class is less probable than this, in [0, 1), become 255, which is ignored.
    device : str
        As `arseg.models.device.resolve_device` takes it.

    Returns
    -------
    ignored : float
        Share of the pixels that are ignored, from 0 to 1.

    Raises
    ------
    CheckpointError
        If the checkpoint is not an HR branch, or its classes have no names.
    DataError
        If there is no sheet of samples, a frame is missing, or no pixel is left.
    """
    samples = read_samples(frames)
    target = resolve_device(device)
    branch = load_teacher(checkpoint, target)
    method = ConstantResolution(branch.network)
    num_ignored, num_pixels, surest = 0, 0, 0.0
    with atomic_path(Path(output)) as folder, torch.inference_mode():
        folder.mkdir()
        for sample in track(samples, "labels"):
            pixels = torch.from_numpy(read_image(Path(frames) / sample.name))[None].to(target)
            # Of logits and of log-probabilities alike.
            probability, labels = method.frame(normalize(pixels, branch.normalization)).softmax(1).max(1)
            indices = torch.where(probability >= confidence, labels, IGNORE_INDEX)[0].cpu().numpy().astype(np.uint8)
            surest = max(surest, float(probability.max()))
            file = folder / sample.name
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(indices).save(file)
            num_ignored += int(np.count_nonzero(indices == IGNORE_INDEX))
            num_pixels += indices.size
        if num_ignored == num_pixels:
            raise DataError(
                f"{frames}: in no pixel of {len(samples)} frames is {checkpoint} as sure as {confidence:g}; its "
                f"most is {surest:.2f}. Lower confidence (arseg adapt --confidence, datasets.NAME.source.confidence), "
                "or give a network that knows such frames"
            )
        write_classes(folder / CLASSES, branch.spec.classes)
    return num_ignored / num_pixels
