"""``arseg imagenet``."""

from pathlib import Path

from arseg.models.imagenet import write_imagenet
from arseg.networks import name_of
from arseg.provenance.recording import records


@records("imagenet", outputs=["output"])
def imagenet(*, output: Path, backbone: str | None = None) -> None:
    """Fetch the ImageNet weights that backbones start from: torchvision's ResNet-18, or those of a library's encoder.

    ResNet-18's are downloaded once, into torch's cache ($TORCH_HOME/hub/checkpoints). Without network, put the file
    there by other means.

    Parameters
    ----------
    output : Path
        File to write (.pth); a configuration names it as initial_weights.
    backbone : str
        Network that shall start from them, like smp/fpn/resnet34 or transformers/segformer-b0; by default those that
        have a ResNet-18.
    """
    write_imagenet(output, backbone and name_of(backbone))
    print(f"wrote {output}")
