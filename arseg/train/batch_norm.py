"""Batch normalisation over the samples of all processes that train together."""

import torch
from lightning.pytorch.plugins.layer_sync import TorchSyncBatchNorm
from torch import Tensor, distributed, nn

from arseg.models.processes import SumWithGradient


class GatheredBatchNorm2d(nn.BatchNorm2d):
    """`torch.nn.SyncBatchNorm` for processors: PyTorch's own is for GPUs only.

    Parameters, buffers and their names are those of `torch.nn.BatchNorm2d`.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Normalise features (N, C, H, W) with the statistics of all processes' samples, or the running ones."""
        if not self.training:
            return super().forward(features)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.momentum is not None
        count = features.new_tensor([features.numel() / features.shape[1]])
        # Two passes, mean first: the difference of two large sums would lose the small variance of float32.
        sums = SumWithGradient.apply(torch.cat([features.sum(dim=(0, 2, 3)), count]))
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = features - mean[:, None, None]
        variance = SumWithGradient.apply(centred.square().sum(dim=(0, 2, 3))) / total
        with torch.no_grad():
            self.running_mean += self.momentum * (mean - self.running_mean)
            unbiased = variance * total / (total - 1).clamp(min=1)
            self.running_var += self.momentum * (unbiased - self.running_var)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        normalized = centred * torch.rsqrt(variance + self.eps)[:, None, None]
        if not self.affine:
            return normalized
        return normalized * self.weight[:, None, None] + self.bias[:, None, None]


class BatchNormOfAllProcesses(TorchSyncBatchNorm):
    """Lightning's plugin, for processors as well."""

    def apply(self, model: nn.Module) -> nn.Module:
        """Replace the batch normalisations of a model, in place where it runs on a processor."""
        if distributed.get_backend() != "gloo":
            return super().apply(model)
        for module in model.modules():
            if type(module) is nn.BatchNorm2d:
                module.__class__ = GatheredBatchNorm2d
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Bring the ordinary ones back."""
        for module in model.modules():
            if type(module) is GatheredBatchNorm2d:
                module.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
        return super().revert(model)
