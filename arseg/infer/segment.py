"""Segment a video picture by picture: the AR protocol of the evaluation on a stream instead of on clips."""

from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from arseg.codec.picture import to_rgb
from arseg.codec.stream import open_video
from arseg.data.manifest import SegmentationClass
from arseg.data.transforms import normalize
from arseg.errors import CodecError, ConfigError, MotionError
from arseg.evaluate.branch import Branch
from arseg.infer.agreement import Agreement
from arseg.infer.checkpoints import load_branches
from arseg.infer.prefetch import prefetch
from arseg.models.device import resolve_device
from arseg.models.inference import fuse_frame, labels_of, predict_constant, resize, to_low_resolution
from arseg.motion.live import Cause, FollowedPicture, Following, LiveVideo
from arseg.stopwatch import Stopwatch

PICTURES_AHEAD = 4
"""Decoded pictures that wait for the networks."""

DEFAULT_FOLLOWING = Following()


@dataclass(frozen=True)
class FrameInfo:
    """What is known of a segmented frame beside its labels."""

    index: int
    """Place among the pictures that could be decoded, from 0."""
    seconds: float
    """Time since the first picture."""
    distance: int
    """Pictures since the keyframe; 0 at a keyframe."""
    cause: Cause | None
    """Why it is a keyframe, if it is one."""
    hr_labels: NDArray[np.uint8] | None = None
    """What the HR branch says, shape (H, W), if that is compared."""


SegmentedFrame = tuple[NDArray[np.uint8], NDArray[np.uint8], FrameInfo]
"""Frame (H, W, 3) in RGB, labels (H, W), and what else is known."""


class _Prepared(NamedTuple):
    """A picture that the networks need, as far as it can be prepared without them."""

    picture: FollowedPicture
    wanted: bool
    rgb: NDArray[np.uint8]
    image: NDArray[np.float32]


class Segmentation:
    """A video that is being segmented; iterate over it once.

    Parameters
    ----------
    video : str or Path
        H.264, HEVC or whatever else FFmpeg decodes: a file, a network address, or ``-`` for standard input.
    checkpoint : path or sequence of path
        Files or folders as `arseg.infer.checkpoints.load_branches` takes them.
    scale_percent : int, optional
        Resolution of the LR branch to choose, where there are several.
    device : str
        As `arseg.models.device.resolve_device` takes it.
    following : Following
        Which pictures become keyframes, and where motion comes from.
    every : int
        Give every n-th frame only. The networks run on no others but keyframes.
    compare_hr : bool
        Run the HR branch on each frame as well; `agreement` says how the two differ.
    max_frames : int, optional
        Pictures to read; all by default.

    Attributes
    ----------
    classes : tuple of SegmentationClass
        What the labels mean.
    video : LiveVideo or None
        The stream's damage, and whether it is encoded again; known from the first frame on.
    watch : Stopwatch
        Seconds by stage: decode, motion, convert (these in a thread of their own), transfer, hr, lr, fusion, compare.
    keyframes : Counter
        Keyframes by cause.
    agreement : Agreement or None
        The comparison, if asked for.

    Raises
    ------
    CheckpointError
        If the networks cannot be told from `checkpoint`, or do not belong together.
    ConfigError
        If an option cannot be.
    """

    def __init__(
        self,
        video: str | Path,
        checkpoint: str | Path | Sequence[str | Path],
        *,
        scale_percent: int | None = None,
        device: str = "auto",
        following: Following = DEFAULT_FOLLOWING,
        every: int = 1,
        compare_hr: bool = False,
        max_frames: int | None = None,
    ) -> None:
        if every < 1:
            raise ConfigError(f"--every {every}: must be at least 1")
        self._device = resolve_device(device)
        paths = [checkpoint] if isinstance(checkpoint, str | Path) else checkpoint
        self._first, self._lr = load_branches(paths, self._device, scale_percent)
        if compare_hr and self._lr is None:
            raise ConfigError("--compare HR: needs an LR branch to compare; the checkpoint is a single network")
        self.classes: tuple[SegmentationClass, ...] = (self._lr or self._first).classes
        cuda = self._device.type == "cuda"
        self.watch = Stopwatch(torch.cuda.synchronize if cuda else None)
        self.keyframes: Counter[str] = Counter()
        self.agreement = Agreement(len(self.classes)) if compare_hr else None
        self.video: LiveVideo | None = None
        self.num_frames: int | None = max_frames
        self.frames_per_second: float | None = None
        self._source, self._following, self._every, self._max_frames = str(video), following, every, max_frames
        self._keyframe: Tensor | None = None
        self._feature: Tensor | None = None

    def __iter__(self) -> Generator[SegmentedFrame, None, None]:
        """Segment on.

        Yields
        ------
        frame : ndarray of uint8, shape (H, W, 3)
            The picture in RGB.
        labels : ndarray of uint8, shape (H, W)
            Class of each pixel.
        info : FrameInfo
            Time, reference distance and so on.

        Raises
        ------
        CodecError, MotionError
            If the video cannot be opened, no picture of it decoded, or its motion not be had as asked for.
        """
        # Full float32 on a GPU, too, as in evaluation: labels do not depend on where they were made.
        with closing(prefetch(self._prepare(), PICTURES_AHEAD)) as ahead:
            for prepared in ahead:
                with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                    result = self._run(prepared)
                if result is not None:
                    yield result

    def _prepare(self) -> Generator[_Prepared, None, None]:
        """Decode and convert; runs ahead, in a thread."""
        normalization = (self._lr or self._first).normalization
        try:
            with open_video(self._source) as stream:
                self.frames_per_second = float(stream.frames_per_second) if stream.frames_per_second else None
                if self._max_frames is None:
                    self.num_frames = stream.num_frames
                self.video = LiveVideo(stream, self._following, self.watch, follow=self._lr is not None)
                for picture in self._decoded(self.video):
                    wanted = picture.index % self._every == 0
                    if wanted or (self._lr is not None and picture.distance == 0):
                        with self.watch("convert"):
                            rgb = to_rgb(picture.pixels)
                            prepared = _Prepared(picture, wanted, rgb, normalize(rgb, normalization))
                        yield prepared
        except (CodecError, MotionError) as error:
            named = str(error).startswith(f"{self._source}: ")
            raise error if named else type(error)(f"{self._source}: {error}") from error

    def _decoded(self, video: LiveVideo) -> Iterator[FollowedPicture]:
        pictures = iter(video)
        while True:
            motion_before = self.watch.seconds["motion"]
            with self.watch("decode"):
                picture = next(pictures, None)
            self.watch.seconds["decode"] -= self.watch.seconds["motion"] - motion_before
            if picture is None or (self._max_frames is not None and picture.index >= self._max_frames):
                return
            if picture.cause is not None and self._lr is not None:
                self.keyframes[picture.cause] += 1
            yield picture

    def _run(self, prepared: _Prepared) -> SegmentedFrame | None:
        picture, rgb = prepared.picture, prepared.rgb
        with self.watch("transfer", on_device=True):
            image = torch.from_numpy(prepared.image)[None].to(self._device)
            motion = None
            if picture.motion_qpel is not None and prepared.wanted:
                motion = torch.from_numpy(picture.motion_qpel)[None].to(self._device)
        if self._lr is not None and picture.distance == 0:
            self._keyframe, self._feature = image, None
        if not prepared.wanted:
            return None
        scores = self._scores(image, motion)
        with self.watch("transfer", on_device=True):
            labels = labels_of(scores)[0].cpu().numpy()
        hr_labels = None
        if self.agreement is not None:
            with self.watch("compare", on_device=True):
                hr_scores = predict_constant(self._first.network, image, 100, (rgb.shape[0], rgb.shape[1]))
            hr_labels = labels_of(hr_scores)[0].cpu().numpy()
            self.agreement.add(hr_labels, labels, picture.distance)
        return rgb, labels, FrameInfo(picture.index, picture.seconds, picture.distance, picture.cause, hr_labels)

    def _scores(self, image: Tensor, motion: Tensor | None) -> Tensor:
        height, width = image.shape[-2:]
        if self._lr is None:
            with self.watch("hr" if self._first.scale_percent == 100 else "lr", on_device=True):
                return predict_constant(self._first.network, image, self._first.scale_percent, (height, width))
        feature = self._keyframe_feature()
        if motion is None:
            with self.watch("hr", on_device=True):
                return resize(self._first.network.classify(feature, (height, width)), (height, width))
        with self.watch("lr", on_device=True):
            low = self._lr.network.encode(to_low_resolution(image, self._lr.scale_percent)).feature
        with self.watch("fusion", on_device=True):
            alignment = self._lr.warp_alignment
            return fuse_frame(self._lr.network, feature, low, motion, (height, width), alignment)

    def _keyframe_feature(self) -> Tensor:
        """Encode the keyframe, once, if a frame needs it."""
        if self._feature is None:
            assert self._keyframe is not None  # the first picture is a keyframe
            with self.watch("hr", on_device=True):
                self._feature = self._first.network.encode(self._keyframe).feature
            self._keyframe = None
        return self._feature

    @property
    def branches(self) -> tuple[Branch, Branch | None]:
        """HR branch and LR branch, or the single network and None."""
        return self._first, self._lr


def segment(video: str | Path, checkpoint: str | Path | Sequence[str | Path], **options: object) -> Segmentation:
    """Segment a video; see `Segmentation` for the options.

    Returns
    -------
    segmentation : Segmentation
        Iterate over it: (frame, labels, info).

    Examples
    --------
    >>> from arseg.infer import segment
    >>> for frame, labels, info in segment("dashcam.mp4", "results/demo"):
    ...     print(info.seconds, (labels == 3).mean())
    """
    return Segmentation(video, checkpoint, **options)  # type: ignore[arg-type]
