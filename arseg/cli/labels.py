"""``arseg labels``: label maps in colours to class indices."""

from pathlib import Path
from typing import Literal

from arseg.data.archives import ImageSource
from arseg.data.color_labels import write_index_labels
from arseg.data.manifest import read_classes
from arseg.provenance.recording import records


@records("labels", inputs=["source", "classes"], outputs=["output"])
def labels(source: Path, *, classes: Path, output: Path, unknown: Literal["refuse", "ignore"] = "refuse") -> None:
    """Convert label maps in colours to class indices.

    Parameters
    ----------
    source : Path
        Folder or zip archive with the label maps, as PNG.
    classes : Path
        CSV of the classes with their colours: index, name, red, green, blue, void.
    output : Path
        Folder to write, with the same names in it.
    unknown : str
        What to do about pixels of other colours: refuse them, or ignore them in training and scoring (255).
    """
    images = ImageSource(source)
    write_index_labels(images, output, read_classes(classes), ignores_unknown=unknown == "ignore")
    print(f"wrote {len(images.members)} labels to {output}")
