"""Segment a video frame by frame: the AR protocol of the evaluation on a stream instead of on clips."""

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from arseg.ar import ConstantResolution, method_of
from arseg.codec.sections import Part
from arseg.errors import ConfigError
from arseg.infer.agreement import Agreement
from arseg.infer.front_end import FrontEnd
from arseg.infer.prefetch import prefetch
from arseg.keyframes import Feedback
from arseg.models.branch import Branch
from arseg.models.branches import load_branches
from arseg.models.device import resolve_device
from arseg.models.inference import labels_of
from arseg.models.pixels import normalize
from arseg.motion.live import FollowedFrame, Following
from arseg.spec import Mode, MotionRules
from arseg.stopwatch import Stopwatch

LOG = logging.getLogger(__name__)

FRAMES_AHEAD = 4
"""Decoded frames that wait for the networks."""

DEFAULT_FOLLOWING = Following()


@dataclass(frozen=True)
class FrameInfo:
    """What is known of a segmented frame beside its labels."""

    index: int
    """Number among the frames that are shown, from 0."""
    seconds: float
    """Time since the first frame."""
    distance: int
    """Frames since the keyframe; 0 at a keyframe."""
    keyframe_reason: str | None
    """Why it is a keyframe, usually a policy's name. None if it is not, and where a single network segments all."""
    is_damaged: bool = False
    """Whether the frame may be wrong: parts are missing and guessed, or it depends on such a frame."""
    hr_labels: NDArray[np.uint8] | None = None
    """What the HR branch says, shape (H, W), if that is compared."""


SegmentedFrame = tuple[NDArray[np.uint8], NDArray[np.uint8], FrameInfo]
"""Frame (H, W, 3) in RGB, labels (H, W), and what else is known."""


def segment(
    video: str | Path,
    checkpoint: str | Path | Sequence[str | Path] | Branch,
    *,
    scale_percent: int | None = None,
    device: str = "auto",
    following: Following = DEFAULT_FOLLOWING,
    every: int = 1,
    propagate: bool = False,
    compare_hr: bool = False,
    metrics: Sequence[str] = (),
    max_frames: int | None = None,
    part: Part | None = None,
) -> "Segmentation":
    """Segment a video.

    Parameters
    ----------
    video : str or Path
        H.264, HEVC or whatever else FFmpeg decodes: a file, a URL, or ``-`` for standard input.
    checkpoint : path, sequence of path, or Branch
        Files or folders as `arseg.models.branches.load_branches` takes them; or a network that is to see every frame,
        as `arseg.models.finished.finished_branch` makes it of a name, on the same device.
    scale_percent : int, optional
        Resolution of the LR branch to choose, where there are several.
    device : str
        As `arseg.models.device.resolve_device` takes it.
    following : Following
        Which frames become keyframes, where motion comes from, and in what it is to differ from that of the LR branch's
        training.
    every : int
        Yield every n-th frame only. The networks run on no others but keyframes.
    propagate : bool
        Propagation alone, without an LR branch: the HR branch sees keyframes, and elsewhere its warped feature is
        classified.
    compare_hr : bool
        Run the HR branch on each frame as well; `Segmentation.agreement` says how the two differ.
    metrics : sequence of str
        What to compare them by beside mIoU: names in `arseg.metrics.metric.metrics`.
    max_frames : int, optional
        Frames to read; all by default.
    part : Part, optional
        Which part of the video to segment, as one run would segment it; all by default.

    Returns
    -------
    segmentation : Segmentation
        Iterate over it: (frame, labels, info).

    Raises
    ------
    CheckpointError
        If the networks cannot be told from `checkpoint`, or do not belong together.
    ConfigError
        If an option cannot be.

    Examples
    --------
    >>> from arseg.infer import segment
    >>> for frame, labels, info in segment("dashcam.mp4", "results/demo"):
    ...     print(info.seconds, (labels == 3).mean())
    """
    if metrics and not compare_hr:
        raise ConfigError(f"--metrics {' '.join(metrics)}: are scores of a comparison. Add --compare HR")
    where = resolve_device(device)
    if isinstance(checkpoint, Branch):
        first, lr = checkpoint, None
    else:
        paths = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
        first, lr = load_branches(paths, where, scale_percent)
    if propagate:
        if first.spec.role != "hr":
            raise ConfigError("--propagate: needs an HR branch; the checkpoint is of a constant low resolution")
        lr = None
    moves = propagate or lr is not None
    agreement = None
    if compare_hr:
        if not moves:
            raise ConfigError(
                "--compare HR: needs an LR branch to compare; the checkpoint is a single network. Add --propagate to "
                "compare propagation alone"
            )
        agreement = Agreement((lr or first).spec.classes, metrics)
    if not moves and following != DEFAULT_FOLLOWING:
        raise ConfigError(
            "--keyframes, --motion, --max-ref-back, --subpixel and --reencoding.*: are for an LR branch or "
            "--propagate; a single network sees every frame for itself. Leave them out"
        )
    rules = following.rules((lr or first).motion) if moves else None
    if rules and lr and (difference := rules.difference(lr.motion)):
        LOG.warning("motion is made otherwise than in the LR branch's training: %s", difference)
    watch = Stopwatch(torch.cuda.synchronize if where.type == "cuda" else None)
    front_end = FrontEnd(str(video), following, rules, watch, every=every, max_frames=max_frames, part=part)
    return Segmentation(first, lr, front_end, agreement, where)


class Segmentation:
    """A video that is being segmented, made by `segment`; iterate over it once.

    Attributes
    ----------
    mode : {"hr", "lr", "warp", "ar"}
        The method.
    hr, lr : Branch, Branch or None
        HR branch and LR branch, or the single network and None.
    classes : tuple of SegmentationClass
        What the labels mean.
    motion : MotionRules or None
        How motion is made; None where a single network sees every frame.
    watch : Stopwatch
        Seconds by stage: decode, motion, convert (these in a thread of their own, unless a keyframe policy needs
        feedback), transfer, normalize, hr, lr, fusion, compare.
    front_end : FrontEnd
        What is known of the video: its damage, whether it is encoded again, its rate and length.
    keyframes : Counter
        Keyframes by reason.
    agreement : Agreement or None
        The comparison, if asked for.
    """

    def __init__(
        self, hr: Branch, lr: Branch | None, front_end: FrontEnd, agreement: Agreement | None, device: torch.device
    ) -> None:
        self.hr, self.lr, self.front_end, self.agreement = hr, lr, front_end, agreement
        self.classes = (lr or hr).spec.classes
        self.motion: MotionRules | None = front_end.rules
        self.watch = front_end.watch
        self.keyframes = front_end.keyframes
        self._device = device
        propagates = lr is None and front_end.rules is not None
        self._method = method_of(hr, lr, propagates=propagates, watch=partial(self.watch, on_device=True))
        self.mode: Mode = "ar" if lr else "warp" if propagates else hr.spec.role
        self._sizes: set[tuple[int, int]] = set()
        self._warned_of_distance = False

    def __iter__(self) -> Generator[SegmentedFrame, None, None]:
        """Segment on.

        Yields
        ------
        frame : ndarray of uint8, shape (H, W, 3)
            The frame in RGB, upright, with square pixels.
        labels : ndarray of uint8, shape (H, W)
            Class of each pixel.
        info : FrameInfo
            Time, reference distance and so on.

        Raises
        ------
        CodecError, MotionError
            If the video cannot be opened, no frame of it decoded, or its motion not be had as asked for.
        """
        frames = iter(self.front_end)
        if not self.front_end.needs_feedback:
            frames = prefetch(frames, FRAMES_AHEAD)
        with closing(frames):
            for frame, rgb in frames:
                # Full float32 on a GPU, too, as in evaluation: labels do not depend on where they were made.
                with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                    result = self._run(frame, rgb)
                if result is not None:
                    yield result

    def _run(self, frame: FollowedFrame, rgb: NDArray[np.uint8]) -> SegmentedFrame | None:
        self._note(frame, rgb)
        wanted = self.front_end.wants(frame)
        with self.watch("transfer", on_device=True):
            pixels = torch.from_numpy(rgb)[None].to(self._device)
            motion = None
            if frame.motion_qpel is not None and wanted:
                motion = torch.from_numpy(frame.motion_qpel)[None].to(self._device)
        with self.watch("normalize", on_device=True):
            image = normalize(pixels, self.hr.normalization)
        if frame.distance == 0:
            self._method.begin(image)
        if not wanted:
            return None
        scores = self._method.keyframe(image) if motion is None else self._method.frame(image, motion)
        with self.watch("transfer", on_device=True):
            found = labels_of(scores)
            labels = found[0].cpu().numpy()
        hr_labels = None
        if self.agreement is not None:
            with self.watch("compare", on_device=True):
                hr_scores = ConstantResolution(self.hr.network).frame(image)
            hr_found = labels_of(hr_scores)
            self.agreement.add(hr_found, found, frame.distance)
            hr_labels = hr_found[0].cpu().numpy()
        if self.front_end.needs_feedback and self.front_end.video is not None:
            self.front_end.video.feedback = Feedback(frame.index, frame.distance, labels)
        info = FrameInfo(frame.index, frame.seconds, frame.distance, frame.keyframe_reason, frame.is_damaged, hr_labels)
        return rgb, labels, info

    def _note(self, frame: FollowedFrame, rgb: NDArray[np.uint8]) -> None:
        """Say, once each, that a size or a distance is not the training's."""
        if (size := (rgb.shape[1], rgb.shape[0])) not in self._sizes:
            self._sizes.add(size)
            if difference := (self.lr or self.hr).size_difference(*size):
                LOG.warning("%s", difference)
        if self.lr and self.motion and frame.distance > self.motion.max_distance and not self._warned_of_distance:
            self._warned_of_distance = True
            LOG.warning(
                "frame %d is %d frames from its keyframe; the LR branch was trained up to %d. Bound it: --keyframes "
                "...,distance",
                frame.index,
                frame.distance,
                self.motion.max_distance,
            )
