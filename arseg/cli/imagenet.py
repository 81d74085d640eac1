"""``arseg imagenet``."""

from pathlib import Path

from arseg.models.imagenet import write_imagenet
from arseg.provenance.recording import records


@records("imagenet", outputs=["output"])
def imagenet(*, output: Path) -> None:
    """Fetch the ImageNet weights that backbones start from: torchvision's ResNet-18.

    They are downloaded once, into torch's cache ($TORCH_HOME/hub/checkpoints). Without network, put the file there
    by other means.

    Parameters
    ----------
    output : Path
        File to write (.pth); a configuration names it as initial_weights.
    """
    write_imagenet(output)
    print(f"wrote {output}")
