"""Networks taken from checkpoints for a role in the protocol, after checking that they are made for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from arseg.errors import CheckpointError
from arseg.files import file_digest
from arseg.models.checkpoint import load_checkpoint
from arseg.models.inference import predict_constant, predict_fused
from arseg.models.network import SegmentationNetwork
from arseg.models.optimize import prepare_for_inference
from arseg.models.pixels import normalize
from arseg.spec import NORMALIZATIONS, PAPER_RULES, Mode, MotionRules, NetworkSpec, Normalization, TrainedOn


@dataclass(frozen=True)
class Branch:
    """A network in evaluation mode, and what it was trained with."""

    network: SegmentationNetwork
    """On the device of the evaluation."""
    spec: NetworkSpec
    """What it is."""
    trained_on: TrainedOn
    """How it came to be."""
    digest: str
    """SHA-256 of the checkpoint file."""

    @property
    def normalization(self) -> Normalization:
        """What its images are normalised with."""
        return NORMALIZATIONS[self.spec.normalization]

    @property
    def motion(self) -> MotionRules:
        """How the motion was composed that an LR branch was trained on; as in the paper where the file does not say."""
        encoding = self.trained_on.encoding
        return PAPER_RULES if encoding is None else encoding.motion


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
    network, spec, trained_on = load_checkpoint(
        path,
        expect_backbone=None if beside is None else beside.spec.backbone,
        expect_num_classes=None if class_names is None else len(class_names),
    )
    expected: dict[str, object] = {"fusion": role == "ar"}
    if scale_percent is not None:
        expected["scale_percent"] = scale_percent
    if class_names is not None and spec.classes:
        expected["class_names"] = tuple(class_names)
    for key, value in expected.items():
        if getattr(spec, key) != value:
            raise CheckpointError(
                f"{path}: {key} is {getattr(spec, key)}, expected {value} in the role {role!r}. Give the checkpoint "
                "that was trained for this, or evaluate it as what it was trained for."
            )
    if spec.normalization not in NORMALIZATIONS:
        raise CheckpointError(
            f"{path}: normalization is {spec.normalization!r}, expected one of {', '.join(NORMALIZATIONS)}. "
            "Train or convert it again with this version of arseg."
        )
    if beside is not None and spec.normalization != beside.spec.normalization:
        raise CheckpointError(
            f"{path}: was trained with {spec.normalization} normalisation, its HR branch with another. Give the "
            "HR branch that it was trained beside."
        )
    if beside is not None and trained_on.hr_digest not in (None, beside.digest):
        raise CheckpointError(
            f"{path}: was trained beside another HR branch than the one given: it fuses that one's features and has "
            "its classifier. Give the HR branch that it was trained beside, or train it again."
        )
    network = network.to(device).eval()
    return Branch(prepare_for_inference(network) if prepared else network, spec, trained_on, file_digest(path))


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
        return predict_constant(self.branch.network, normalized, self.branch.spec.scale_percent, _size(image))


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
            self.lr.spec.scale_percent,
            _size(image),
            self.lr.spec.warp_alignment,
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
