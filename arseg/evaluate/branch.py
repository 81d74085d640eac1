"""Networks taken from checkpoints for a role in the protocol, after checking that they are made for it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from arseg.config import NORMALIZATIONS, Mode, Normalization, WarpAlignment
from arseg.data.manifest import SegmentationClass
from arseg.errors import CheckpointError
from arseg.files import file_digest
from arseg.models.checkpoint import load_checkpoint
from arseg.models.inference import predict_constant, predict_fused
from arseg.models.network import SegmentationNetwork
from arseg.models.optimize import prepare_for_inference
from arseg.models.pixels import normalize
from arseg.motion.rules import PAPER_RULES, MotionRules, followed_references

MAX_SIZE_RATIO = 2
"""How many times as long as in training the sides of frames may be, or as short, without a warning. The published
random scales, 0.5 to 2.5, show a network each thing in half and twice its size; what differs more it has not seen."""

PHASES: dict[Mode, int] = {"hr": 1, "lr": 1, "ar": 2}
"""Which training phase makes the network of a role: HR branch, LR baseline, LR branch of AR."""


@dataclass(frozen=True)
class Branch:
    """A network in evaluation mode, and what it was trained with."""

    network: SegmentationNetwork
    """On the device of the evaluation."""
    backbone: str
    """Architecture, as the registry names it."""
    normalization: Normalization
    """What its images are normalised with."""
    scale_percent: int
    """Resolution that it sees, in percent."""
    warp_alignment: WarpAlignment
    """Convention of the warp; means nothing in a network without fusion."""
    digest: str
    """SHA-256 of the checkpoint file."""
    classes: tuple[SegmentationClass, ...]
    """Classes that it tells apart, as its training knew them; empty where the checkpoint does not describe them."""
    motion: MotionRules = PAPER_RULES
    """How the motion was made that an LR branch was trained on: the paper's rules where the checkpoint does not say,
    which are true of the authors' own."""
    frame_size: tuple[int, int] | None = None
    """Width and height of the frames that it was trained on, before they were cropped; None if not known."""

    def size_difference(self, width: int, height: int) -> str:
        """Say how frames of a size differ from those of the training; empty if not by much, or if that is not known."""
        if self.frame_size is None:
            return ""
        ratio = math.sqrt(width * height / math.prod(self.frame_size))
        if 1 / MAX_SIZE_RATIO <= ratio <= MAX_SIZE_RATIO:
            return ""
        trained = "x".join(map(str, self.frame_size))
        return (
            f"the network was trained on frames of {trained} pixels, these have {width}x{height}: things in them are "
            f"{ratio:.2g} times as large as it has learnt. Resize the frames, or train on some of that size"
        )


def load_branch(
    path: str | Path,
    *,
    role: Mode,
    scale_percent: int | None,
    class_names: Sequence[str] | None,
    device: torch.device,
    beside: Branch | None = None,
    prepared: bool = True,
) -> Branch:
    """Read the checkpoint of a branch.

    Parameters
    ----------
    path : path
        Checkpoint of arseg.
    role : {"hr", "lr", "ar"}
        HR branch, constant-resolution baseline, or LR branch of AR.
    scale_percent : int or None
        Resolution that it will see; a network that was trained at another is refused. None takes the one that
        it was trained at.
    class_names : sequence of str, optional
        Classes of the data set, which must be the checkpoint's; None takes whatever it was trained with.
    device : torch.device
        Where the network shall run.
    beside : Branch, optional
        HR branch that the network works with; both must have one backbone and one normalisation.
    prepared : bool
        Give the network in the form that runs fastest (`arseg.models.optimize`), which cannot be trained on. Whatever
        scores or shows networks takes this one, so that labels are the same everywhere.

    Returns
    -------
    branch : Branch

    Raises
    ------
    CheckpointError
        If the checkpoint is unreadable, or made for another role, scale, data set or HR branch.
    """
    path = Path(path)
    network, metadata = load_checkpoint(
        path,
        expect_backbone=None if beside is None else beside.backbone,
        expect_num_classes=None if class_names is None else len(class_names),
    )
    if scale_percent is None:
        scale_percent = int(metadata.get("scale_percent", 100))
    expected: dict[str, object] = {"phase": PHASES[role], "scale_percent": scale_percent}
    if class_names is not None:
        expected["class_names"] = list(class_names)
    for key, value in expected.items():
        found = metadata.get(key, value)
        if found != value:
            raise CheckpointError(
                f"{path}: {key} is {found}, expected {value} in the role {role!r} at {scale_percent} %. Give "
                "the checkpoint that was trained for this, or evaluate it as what it was trained for."
            )
    normalization = metadata.get("normalization")
    if normalization not in NORMALIZATIONS:
        raise CheckpointError(
            f"{path}: normalization is {normalization!r}, expected one of {', '.join(NORMALIZATIONS)}. "
            "Train or convert it again with this version of arseg."
        )
    if beside is not None and NORMALIZATIONS[normalization] != beside.normalization:
        raise CheckpointError(
            f"{path}: was trained with {normalization} normalisation, its HR branch with another. Give the "
            "HR branch that it was trained beside."
        )
    if beside is not None and metadata.get("hr_digest", beside.digest) != beside.digest:
        raise CheckpointError(
            f"{path}: was trained beside another HR branch than the one given: it fuses that one's features and has "
            "its classifier. Give the HR branch that it was trained beside, or train it again."
        )
    network = network.to(device).eval()
    return Branch(
        network=prepare_for_inference(network) if prepared else network,
        backbone=metadata["backbone"],
        normalization=NORMALIZATIONS[normalization],
        scale_percent=scale_percent,
        warp_alignment=metadata.get("warp_alignment", "published"),
        digest=file_digest(path),
        classes=_classes(metadata),
        motion=_motion(path, metadata),
        frame_size=tuple(metadata["frame_size"]) if "frame_size" in metadata else None,
    )


def _classes(metadata: Mapping[str, Any]) -> tuple[SegmentationClass, ...]:
    columns = (metadata.get(key, ()) for key in ("class_names", "class_colors", "class_void"))
    described = zip(*columns, strict=False)
    return tuple(
        SegmentationClass(index, name, (red, green, blue), void)
        for index, (name, (red, green, blue), void) in enumerate(described)
    )


def _motion(path: Path, metadata: Mapping[str, Any]) -> MotionRules:
    encoding = metadata.get("encoding")
    if encoding is None:
        return PAPER_RULES
    try:
        subpixel, gop, references = encoding["subpixel"], encoding["gop"], encoding["references"]
    except (KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: its encoding lacks {error}, so it does not say what motion the branch was trained on. Train it "
            "again with this version of arseg"
        ) from error
    return MotionRules(subpixel, gop, followed_references(references))


class ConstantPredictor:
    """Modes HR and LR: one network at one resolution on every frame (spec section 7).

    Parameters
    ----------
    branch : Branch
        HR branch or LR baseline.
    """

    def __init__(self, branch: Branch) -> None:
        self.branch = branch

    def __call__(self, image: Tensor, keyframe: Tensor | None, motion_qpel: Tensor | None) -> Tensor:
        """Segment a frame; keyframe and motion do not matter here.

        Parameters
        ----------
        image : Tensor of uint8, shape (1, H, W, 3)
            Decoded frame, RGB.
        keyframe, motion_qpel
            Ignored.

        Returns
        -------
        scores : Tensor, shape (1, K, H, W)
        """
        normalized = normalize(image, self.branch.normalization)
        return predict_constant(self.branch.network, normalized, self.branch.scale_percent, _size(image))


class FusedPredictor:
    """Mode AR: the HR branch on keyframes, the fused LR branch on all other frames (spec section 7).

    The feature of the last keyframe is kept, so that consecutive frames of one clip pay for it once. A
    keyframe is recognised by its pixels: clips that start at the same frame but have different lengths are
    encoded apart.

    Parameters
    ----------
    hr : Branch
        HR branch.
    lr : Branch
        LR branch of phase 2.
    """

    def __init__(self, hr: Branch, lr: Branch) -> None:
        self.hr = hr
        self.lr = lr
        self.num_keyframes_encoded = 0
        self._keyframe: Tensor | None = None
        self._feature: Tensor | None = None

    def __call__(self, image: Tensor, keyframe: Tensor | None, motion_qpel: Tensor | None) -> Tensor:
        """Segment a frame.

        Parameters
        ----------
        image : Tensor of uint8, shape (1, H, W, 3)
            Decoded frame, RGB.
        keyframe : Tensor of uint8, shape (1, H, W, 3), or None
            Decoded keyframe of its clip; None if the frame is the keyframe itself (d = 0).
        motion_qpel : Tensor of int16, shape (1, H, W, 2), or None
            Motion to the keyframe, (x, y) in quarter pixels; None at d = 0.

        Returns
        -------
        scores : Tensor, shape (1, K, H, W)
        """
        normalized = normalize(image, self.lr.normalization)
        if keyframe is None or motion_qpel is None:
            return predict_constant(self.hr.network, normalized, 100, _size(image))
        return predict_fused(
            self.lr.network,
            self._encode_keyframe(keyframe),
            normalized,
            motion_qpel,
            self.lr.scale_percent,
            _size(image),
            self.lr.warp_alignment,
        )

    def _encode_keyframe(self, keyframe: Tensor) -> Tensor:
        if self._feature is None or self._keyframe is None or not torch.equal(keyframe, self._keyframe):
            self._keyframe = keyframe
            self._feature = self.hr.network.encode(normalize(keyframe, self.hr.normalization)).feature
            self.num_keyframes_encoded += 1
        return self._feature


Predictor = ConstantPredictor | FusedPredictor
"""What turns a decoded frame into scores."""


def _size(image: Tensor) -> tuple[int, int]:
    """Height and width of a picture in bytes, (1, H, W, 3)."""
    return image.shape[1], image.shape[2]
