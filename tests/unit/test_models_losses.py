"""Losses and the schedule on numbers computed by hand."""

import math

import pytest
import torch
from torch.nn import functional as F

from arseg.models.losses import (
    auxiliary_cross_entropy_loss,
    bisenet_loss,
    class_presence,
    feature_similarity,
    nll,
    ohem_cross_entropy,
    presence_bce,
    pspnet_loss,
    small_loss,
)
from arseg.models.network import Prediction
from arseg.train.optimizer import schedule_length


def test_nll_without_a_valid_pixel_is_zero_or_as_published_nan():
    scores = torch.zeros(1, 2, 1, 3, requires_grad=True)
    labels = torch.full((1, 1, 3), 255)
    loss = nll(scores, labels)
    loss.backward()
    assert loss.item() == 0
    assert scores.grad.abs().sum() == 0
    assert torch.isnan(nll(scores, labels, original=True))


def test_presence_marks_the_classes_of_each_map():
    labels = torch.tensor([[[0, 2], [2, 255]], [[255, 255], [255, 255]]], dtype=torch.uint8)
    assert class_presence(labels, 4).tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]]
    assert presence_bce(torch.zeros(2, 4), labels).item() == pytest.approx(math.log(2))


def test_feature_similarity_resizes_the_feature():
    ramp = torch.tensor([[[[0.0, 2.0]]]])
    hr_ramp = torch.tensor([[[[0.0, 1.0, 2.0]]]])
    assert feature_similarity(ramp, hr_ramp).item() == 0
    assert feature_similarity(ramp, hr_ramp + 3).item() == pytest.approx(9)


def test_parts_are_weighted_and_resized():
    torch.manual_seed(0)
    labels = torch.randint(0, 3, (2, 8, 6))
    scores, auxiliary = torch.randn(2, 3, 4, 3), torch.randn(2, 3, 8, 6)
    feature = torch.zeros(2, 1, 1, 1)
    resized = F.interpolate(scores, (8, 6), mode="bilinear", align_corners=True)

    parts = auxiliary_cross_entropy_loss(Prediction(scores, feature, (auxiliary,)), labels)
    assert parts["cross_entropy"].item() == pytest.approx(F.cross_entropy(resized, labels).item())
    assert parts["auxiliary"].item() == pytest.approx(0.4 * F.cross_entropy(auxiliary, labels).item())

    presence = torch.randn(2, 3)
    parts = pspnet_loss(Prediction(scores, feature, (presence,)), labels)
    assert parts["nll"].item() == pytest.approx(F.nll_loss(resized, labels).item())
    assert parts["presence"].item() == pytest.approx(presence_bce(presence, labels).item())

    parts = bisenet_loss(Prediction(scores, feature, (auxiliary, scores)), labels)
    assert parts["ohem"].item() == parts["ohem_stride16"].item()
    assert parts["ohem_stride8"].item() == pytest.approx(ohem_cross_entropy(auxiliary, labels).item())

    parts = small_loss(Prediction(scores, feature, (scores[..., :2],)), labels)
    assert parts["ohem"].item() == pytest.approx(ohem_cross_entropy(resized, labels).item())
    nearest = labels[:, [0, 2, 5, 7]][..., [0, 5]]
    assert parts["auxiliary"].item() == pytest.approx(0.4 * F.cross_entropy(scores[..., :2], nearest).item())


def test_schedule_counts_one_iteration_more_than_an_epoch_has():
    assert schedule_length(epochs=100, num_samples=367, batch_size=8) == 100 * 46
    assert schedule_length(epochs=1, num_samples=8, batch_size=8) == 2
