"""What a network is and what it was trained on, as values."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, Self

from arseg.spec.encoding import Encoding

Role = Literal["hr", "lr", "ar"]
"""What a network is for: HR branch, constant-resolution baseline, LR branch of AR-Seg."""

Mode = Literal["hr", "lr", "warp", "ar"]
"""What is evaluated: a network of the first two roles, the HR branch's propagation alone, AR-Seg."""

WarpAlignment = Literal["published", "consistent"]


@dataclass(frozen=True)
class SegmentationClass:
    """One class of a data set."""

    index: int
    """Value in the label maps, 0 ... K - 1."""
    name: str
    """Name in tables and figures."""
    color: tuple[int, int, int]
    """RGB, 0 ... 255, in overlays."""
    void: bool
    """Whether the class means "none of the others"; scores are given with and without such classes."""


@dataclass(frozen=True)
class Normalization:
    """Per-channel mean and standard deviation of RGB images in [0, 1]."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


NORMALIZATIONS: dict[str, Normalization] = {
    "camvid": Normalization((0.39068785, 0.40521392, 0.41434407), (0.29652068, 0.30514979, 0.30080369)),
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "bisenet": Normalization((0.3257, 0.3690, 0.3223), (0.2112, 0.2148, 0.2115)),
}
"""CamVid's own, ImageNet's (PSPNet on Cityscapes), and that of the public BiSeNet (Cityscapes)."""


@dataclass(frozen=True)
class NetworkSpec:
    """What a network is: enough to build it, to feed it, and to read its output."""

    backbone: str
    """Architecture, as the registry names it."""
    num_classes: int
    """Number K of classes."""
    fusion: bool = False
    """Whether it is an LR branch of AR-Seg, which fuses the keyframe's feature."""
    scale_percent: int = 100
    """Resolution that it sees, in percent."""
    normalization: str = "camvid"
    """Name in `NORMALIZATIONS` of what its images are normalised with."""
    warp_alignment: WarpAlignment = "published"
    """Half-pixel convention of the warp; means nothing in a network without fusion."""
    classes: tuple[SegmentationClass, ...] = ()
    """The classes; empty where a file does not describe them."""

    @property
    def role(self) -> Role:
        """Which of AR-Seg's networks it is."""
        return "ar" if self.fusion else "hr" if self.scale_percent == 100 else "lr"

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, in order."""
        return tuple(cls.name for cls in self.classes)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as builtins."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make a description of what `to_dict` gave; other entries are passed over.

        Raises
        ------
        KeyError
            If the backbone, the number of classes or the fusion is missing.
        """
        required = {name: stored[name] for name in ("backbone", "num_classes", "fusion")}
        classes = (SegmentationClass(**cls | {"color": tuple(cls["color"])}) for cls in stored.get("classes", ()))
        return cls(**_known(cls, stored) | required | {"classes": tuple(classes)})


@dataclass(frozen=True)
class TrainedOn:
    """How a network came to be: everything beside its own description that its weights depend on, and its score."""

    stage: int | None = None
    """Version of the training stage."""
    seed: int | None = None
    """Seed of initial weights, order, augmentation and dropout."""
    manifest_digest: str | None = None
    """SHA-256 of the manifest."""
    train_split: str | None = None
    """Split that it has learnt from."""
    val_split: str | None = None
    """Split that its best epoch was chosen by."""
    encoding: Encoding | None = None
    """Phase 2: the clips, whose motion the branch expects."""
    hr_digest: str | None = None
    """Phase 2: SHA-256 of the checkpoint of the HR branch that it was trained beside."""
    constants: Mapping[str, Any] = field(default_factory=dict)
    """Constants of the training, see `arseg.config.TrainConfig`."""
    frame_size: tuple[int, int] | None = None
    """Width and height of the frames, before they were cropped."""
    initialized_from: Mapping[str, Any] | None = None
    """The network that it started from, and what of it was left out, see `arseg.models.imagenet.initialize_network`."""
    imported_from: Mapping[str, str] | None = None
    """Name and SHA-256 of the file, where another program has trained it."""
    epoch: int | None = None
    """Epoch of the weights, the best one in validation, from 0."""
    score: float | None = None
    """Its mIoU in validation, 0 ... 1."""
    arseg_version: str | None = None
    """Version of the package that wrote the file."""

    def to_dict(self) -> dict[str, Any]:
        """Return everything that is known as builtins."""
        encoding = None if self.encoding is None else self.encoding.to_dict()
        return {name: value for name, value in (vars(self) | {"encoding": encoding}).items() if value is not None}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Self:
        """Make a description of what `to_dict` gave; other entries are passed over.

        Raises
        ------
        KeyError
            If the encoding lacks a setting.
        """
        encoding = Encoding.from_dict(stored["encoding"]) if stored.get("encoding") else None
        return cls(**_known(cls, stored) | {"encoding": encoding})


def _known(cls: type, stored: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(cls)}
    return {name: value for name, value in stored.items() if name in names}
