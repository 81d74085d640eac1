"""The method, once: keyframes at full resolution, all other frames at low resolution, repaired by the keyframe.

Evaluation, validation in training, segmentation of videos, figures, benchmarks and the check of exported files all run
what is written here. Gradient mode, device and precision are the caller's. See docs/method.md.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from arseg.errors import ConfigError
from arseg.models.branch import Branch
from arseg.models.inference import resize, to_low_resolution, warp_keyframe
from arseg.models.network import SegmentationNetwork
from arseg.models.pixels import normalize
from arseg.spec import WarpAlignment

Watch = Callable[[str], AbstractContextManager[object]]
"""Called with the name of a part (``hr``, ``lr``, ``fusion``) around its work."""


class ConstantResolution:
    """One network in its plain pass, at one resolution on every frame: the HR branch, or the LR baseline.

    It can take the place of `AlteringResolution`, which documents the parameters; keyframes and motion do not matter.
    """

    def __init__(self, network: SegmentationNetwork, scale_percent: int = 100, *, watch: Watch = nullcontext) -> None:
        self._network = network
        self._scale_percent = scale_percent
        self._watch = watch

    def begin(self, keyframe: Tensor) -> None:
        """Do nothing."""

    def keyframe(self, image: Tensor) -> Tensor:
        """Segment a keyframe as any other frame."""
        return self.frame(image)

    def frame(self, image: Tensor, motion_qpel: Tensor | None = None, evidence: Tensor | None = None) -> Tensor:
        """Return the scores (N, K, H, W) of a normalised RGB frame (N, 3, H, W) at full resolution."""
        height, width = image.shape[-2:]
        with self._watch("hr" if self._scale_percent == 100 else "lr"):
            return resize(self._network(to_low_resolution(image, self._scale_percent)).scores, (height, width))


class Propagation:
    """The HR branch on keyframes; on other frames its warped feature, classified: what AR-Seg adds an LR branch to.

    Parameters
    ----------
    hr : SegmentationNetwork
        HR branch.
    alignment : {"published", "consistent"}
        Convention of the warp. Nothing is trained on it here, so zero motion is the identity by default.
    watch : callable, optional
        Called around what runs.
    """

    def __init__(
        self, hr: SegmentationNetwork, alignment: WarpAlignment = "consistent", *, watch: Watch = nullcontext
    ) -> None:
        self._hr = hr
        self._alignment = alignment
        self._watch = watch
        self._keyframe: Tensor | None = None
        self._feature: Tensor | None = None

    def begin(self, keyframe: Tensor) -> None:
        """Remember a keyframe, as `keyframe` takes it, for the frames after it; it is encoded once one needs it."""
        self._keyframe, self._feature = keyframe, None

    @property
    def feature(self) -> Tensor:
        """The HR branch's feature of the last keyframe, shape (N, C, H', W')."""
        if self._feature is None:
            assert self._keyframe is not None, "a video begins with a keyframe"
            with self._watch("hr"):
                self._feature = self._hr.encode(self._keyframe).feature
            self._keyframe = None
        return self._feature

    def keyframe(self, image: Tensor) -> Tensor:
        """Return the HR branch's scores (N, K, H, W) of a keyframe, and keep its feature for the frames after it.

        The image is a normalised RGB frame (N, 3, H, W) at full resolution.
        """
        height, width = image.shape[-2:]
        self.begin(image)
        feature = self.feature
        with self._watch("hr"):
            return resize(self._hr.classify(feature, (height, width)), (height, width))

    def frame(self, image: Tensor, motion_qpel: Tensor, evidence: Tensor | None = None) -> Tensor:
        """Return the scores (N, K, H, W) of a non-keyframe: logits or log-probabilities, resized as they are.

        The image is a normalised RGB frame (N, 3, H, W) at full resolution; `motion_qpel`, int16 (N, H, W, 2), the
        displacement (x, y) in quarter pixels from each of its pixels to the source in the keyframe; `evidence`, uint8
        (N, H', W', 3), how far that can be trusted, where the fusion of an LR branch uses it.
        """
        height, width = image.shape[-2:]
        keyframe_feature = self.feature
        with self._watch("fusion"):
            warped = warp_keyframe(keyframe_feature, motion_qpel, self._alignment)
            return resize(self._hr.classify(warped, (height, width)), (height, width))


class AlteringResolution(Propagation):
    """AR-Seg: the HR branch on keyframes; on other frames the LR branch, fused with the warped keyframe feature.

    Parameters
    ----------
    hr : SegmentationNetwork
        HR branch.
    lr : SegmentationNetwork
        LR branch, built with fusion.
    scale_percent : int
        Resolution at which the LR branch sees frames, in percent.
    alignment : {"published", "consistent"}
        Convention of the warp; the one that the LR branch was trained with.
    watch : callable, optional
        Called around what runs.

    Raises
    ------
    ConfigError
        If `lr` was built without fusion.

    References
    ----------
    .. [1] Hu et al., "Efficient Semantic Segmentation by Altering Resolutions for Compressed Videos", CVPR 2023.
    """

    def __init__(
        self,
        hr: SegmentationNetwork,
        lr: SegmentationNetwork,
        scale_percent: int,
        alignment: WarpAlignment = "published",
        *,
        watch: Watch = nullcontext,
    ) -> None:
        if lr.fuse_attention is None:
            raise ConfigError(
                f"{type(lr).__name__} was built without fusion; an LR branch needs a checkpoint of phase 2, or "
                "build_network(..., fusion=True)"
            )
        super().__init__(hr, alignment, watch=watch)
        self._lr = lr
        self._scale_percent = scale_percent

    def frame(self, image: Tensor, motion_qpel: Tensor, evidence: Tensor | None = None) -> Tensor:
        """Segment a non-keyframe; see `Propagation.frame`."""
        height, width = image.shape[-2:]
        keyframe_feature = self.feature
        with self._watch("lr"):
            feature = self._lr.encode(to_low_resolution(image, self._scale_percent)).feature
        with self._watch("fusion"):
            warped = warp_keyframe(keyframe_feature, motion_qpel, self._alignment)
            scores = self._lr.classify(self._lr.fuse(warped, feature, evidence))
            return resize(scores, (height, width))


Method = ConstantResolution | Propagation
"""What segments the frames of a video, keyframe by keyframe."""


def method_of(
    first: Branch, lr: Branch | None = None, *, propagates: bool = False, watch: Watch = nullcontext
) -> Method:
    """Return the method that branches are for.

    Parameters
    ----------
    first : Branch
        HR branch, or a single network.
    lr : Branch, optional
        LR branch beside it.
    propagates : bool
        Whether an HR branch alone leaves other frames than keyframes to the warp of its feature.
    watch : callable, optional
        Called around what runs.
    """
    if propagates:
        return Propagation(first.network, watch=watch)
    if lr is None:
        return ConstantResolution(first.network, first.spec.scale_percent, watch=watch)
    spec = lr.spec
    return AlteringResolution(first.network, lr.network, spec.scale_percent, spec.warp_alignment, watch=watch)


class ClipPredictor:
    """Segments frames of clips as they are stored; a keyframe is encoded once for all its frames in a row.

    A keyframe is recognised by its pixels: clips that start at the same frame but have different lengths are encoded
    apart.

    Parameters
    ----------
    first : Branch
        HR branch, or a single network.
    lr : Branch, optional
        LR branch beside it.
    propagates : bool
        See `method_of`.
    """

    def __init__(self, first: Branch, lr: Branch | None = None, *, propagates: bool = False) -> None:
        self._method = method_of(first, lr, propagates=propagates)
        self._normalization = first.normalization
        self._keyframe: Tensor | None = None

    def __call__(
        self, image: Tensor, keyframe: Tensor | None, motion_qpel: Tensor | None, evidence: Tensor | None = None
    ) -> Tensor:
        """Return the scores (1, K, H, W) of a decoded frame.

        Frame and keyframe are RGB, uint8, shape (1, H, W, 3); `motion_qpel`, int16, shape (1, H, W, 2), is the motion
        to the keyframe, (x, y) in quarter pixels. Both others are None if the frame is the keyframe itself (d = 0). The
        `evidence` is that of `Propagation.frame`.
        """
        normalized = normalize(image, self._normalization)
        if keyframe is None or motion_qpel is None:
            self._keyframe = image
            return self._method.keyframe(normalized)
        if self._keyframe is None or not torch.equal(keyframe, self._keyframe):
            self._keyframe = keyframe
            self._method.begin(normalize(keyframe, self._normalization))
        return self._method.frame(normalized, motion_qpel, evidence)
