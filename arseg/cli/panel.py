"""``arseg plot panel``."""

from pathlib import Path

from arseg.cli.recorded import classes
from arseg.options import Device, Figure, ManifestFile
from arseg.plots.panel import qualitative_panel
from arseg.provenance.recording import records


@records("plot panel", inputs=["manifest", classes, "stores", "hr", "lr", "ar"], outputs=["output"])
def panel(
    *,
    manifest: ManifestFile,
    stores: list[Path],
    hr: Path,
    lr: Path,
    ar: Path,
    output: Figure,
    device: Device = "auto",
) -> None:
    """Draw examples: keyframe, frame, label, the three predictions, the warped keyframe and the motion.

    Parameters
    ----------
    stores : list of Path
        Clip stores at the largest distance, all shards.
    hr : Path
        Checkpoint of the HR branch.
    lr : Path
        Checkpoint of the LR baseline.
    ar : Path
        Checkpoint of AR-Seg's LR branch, at the baseline's scale.
    output : Path
        Figure to write (.png, .pdf, .svg).
    """
    qualitative_panel(
        stores=stores, manifest=manifest, hr_path=hr, lr_path=lr, ar_path=ar, output=output, device=device
    )
    print(f"wrote {output}")
