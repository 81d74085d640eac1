"""The losses of both phases, as pure functions (docs/method.md, 'Losses').

Each architecture's loss comes as named parts, already weighted, whose sum is the loss: what is logged is then
what is optimised. Score maps are resized to the labels' size here.

Where several processes train one batch (`arseg.models.processes`), means over pixels are means over all of its pixels,
so that the average of the processes' losses and gradients is that of one process.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from arseg.config import IGNORE_INDEX
from arseg.models.network import Prediction
from arseg.models.processes import gather_over_processes, num_processes, sum_over_processes
from arseg.models.resize import resize

OHEM_THRESHOLD = -math.log(0.7)
"""Pixels whose true class got a probability below 0.7 are hard."""
OHEM_MIN_FRACTION = 16
"""At least one in so many valid pixels is kept."""
AUXILIARY_WEIGHT = 0.4
"""Weight of the auxiliary head in `auxiliary_cross_entropy_loss` and `small_loss`."""


def nll(log_probabilities: Tensor, labels: Tensor, original: bool = False) -> Tensor:
    """Mean negative log-likelihood of the valid pixels.

    Parameters
    ----------
    log_probabilities : Tensor, shape (N, K, H, W)
        Log-probabilities; after a resize they need not be normalised.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    original : bool
        Give NaN where no pixel is valid, as the published programs do, instead of zero.

    Returns
    -------
    loss : Tensor, shape ()
    """
    labels = labels.long()
    num_valid = sum_over_processes((labels != IGNORE_INDEX).sum())
    total = F.nll_loss(log_probabilities, labels, ignore_index=IGNORE_INDEX, reduction="sum")
    return total * num_processes() / (num_valid if original else num_valid.clamp(min=1))


def cross_entropy(logits: Tensor, labels: Tensor, original: bool = False) -> Tensor:
    """Mean cross-entropy of the valid pixels; parameters as for `nll`, but of logits."""
    return nll(F.log_softmax(logits, dim=1), labels, original)


def class_presence(labels: Tensor, num_classes: int) -> Tensor:
    """Say which classes occur in each label map.

    Parameters
    ----------
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    num_classes : int
        Number K of classes.

    Returns
    -------
    presence : Tensor of float32, shape (N, K)
        1 where the class occurs in the map, else 0.
    """
    labels = labels.long().flatten(1)
    ignored_as_last = torch.where(labels == IGNORE_INDEX, num_classes, labels)
    presence = torch.zeros(len(labels), num_classes + 1, device=labels.device)
    return presence.scatter_(1, ignored_as_last, 1.0)[:, :num_classes]


def presence_bce(presence_logits: Tensor, labels: Tensor) -> Tensor:
    """Mean binary cross-entropy of image-level presence logits (N, K) against the classes in `labels`."""
    target = class_presence(labels, presence_logits.shape[1])
    return F.binary_cross_entropy_with_logits(presence_logits, target.to(presence_logits.dtype))


def ohem_cross_entropy(logits: Tensor, labels: Tensor, original: bool = False) -> Tensor:
    """Cross-entropy of the hard pixels: online hard example mining.

    Hard are the pixels whose loss exceeds -ln 0.7. If they are fewer than a sixteenth of the valid pixels of
    the batch, that many with the largest losses are taken instead.

    Parameters
    ----------
    logits : Tensor, shape (N, K, H, W)
        Logits.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    original : bool
        Give NaN where no pixel is taken (none hard, fewer than 16 valid), as the published programs do,
        instead of zero with zero gradient.

    Returns
    -------
    loss : Tensor, shape ()
        Mean over the pixels taken.
    """
    labels = labels.long()
    losses = F.cross_entropy(logits, labels, ignore_index=IGNORE_INDEX, reduction="none").flatten()
    losses = gather_over_processes(losses)
    fewest = int(sum_over_processes((labels != IGNORE_INDEX).sum())) // OHEM_MIN_FRACTION
    taken = losses[losses > OHEM_THRESHOLD]
    if taken.numel() < fewest:
        taken = losses.topk(fewest).values
    if original:
        return taken.mean()
    return taken.sum() / max(taken.numel(), 1)


def feature_similarity(feature: Tensor, hr_feature: Tensor) -> Tensor:
    """Mean squared error between a feature, resized to the HR feature's size, and the HR feature (FST).

    Parameters
    ----------
    feature : Tensor, shape (N, C, h, w)
        LR branch's feature, fused or plain.
    hr_feature : Tensor, shape (N, C, H, W)
        HR branch's feature of the same frame.

    Returns
    -------
    loss : Tensor, shape ()
    """
    height, width = hr_feature.shape[-2:]
    return F.mse_loss(resize(feature, (height, width)), hr_feature)


def _at_label_size(scores: Tensor, labels: Tensor) -> Tensor:
    height, width = labels.shape[-2:]
    return resize(scores, (height, width))


def pspnet_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Loss of the CamVid PSPNet: NLL plus class presence.

    Parameters
    ----------
    prediction : Prediction
        Log-probabilities and presence logits.
    labels : Tensor of integers, shape (N, H, W)
        Class indices; 255 is ignored.
    original : bool
        Restore what the published losses do wrong.

    Returns
    -------
    parts : dict of str to Tensor
        Named parts whose sum is the loss.
    """
    (presence_logits,) = prediction.auxiliary
    return {
        "nll": nll(_at_label_size(prediction.scores, labels), labels, original),
        "presence": presence_bce(presence_logits, labels),
    }


def auxiliary_cross_entropy_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Loss of the Cityscapes PSPNet and of `tiny`: cross-entropy on both outputs; as `pspnet_loss` otherwise."""
    (auxiliary,) = prediction.auxiliary
    auxiliary_loss = cross_entropy(_at_label_size(auxiliary, labels), labels, original)
    return {
        "cross_entropy": cross_entropy(_at_label_size(prediction.scores, labels), labels, original),
        "auxiliary": AUXILIARY_WEIGHT * auxiliary_loss,
    }


def bisenet_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Loss of BiSeNet: OHEM cross-entropy on all three outputs; as `pspnet_loss` otherwise."""
    stride8, stride16 = prediction.auxiliary
    outputs = {"ohem": prediction.scores, "ohem_stride8": stride8, "ohem_stride16": stride16}
    return {
        name: ohem_cross_entropy(_at_label_size(scores, labels), labels, original) for name, scores in outputs.items()
    }


def small_loss(prediction: Prediction, labels: Tensor, original: bool = False) -> dict[str, Tensor]:
    """Loss of `small`: OHEM cross-entropy of the scores, and cross-entropy of the auxiliary ones where they lie.

    The nearest labels do for the auxiliary scores: on a CPU, resizing scores to all labels, and back, costs more than a
    small network. As `pspnet_loss` otherwise.
    """
    (auxiliary,) = prediction.auxiliary
    rows, columns = (
        torch.linspace(0, many - 1, few, device=labels.device).round().long()
        for few, many in zip(auxiliary.shape[-2:], labels.shape[-2:], strict=True)
    )
    return {
        "ohem": ohem_cross_entropy(_at_label_size(prediction.scores, labels), labels, original),
        "auxiliary": AUXILIARY_WEIGHT * cross_entropy(auxiliary, labels[:, rows[:, None], columns], original),
    }
