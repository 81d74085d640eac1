"""What all figures share: fonts, readable names, and writing the file."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from arseg.codecs import codecs
from arseg.files import atomic_path
from arseg.networks import networks
from arseg.spec import Rate

STYLE: Any = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.labelsize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "0.4",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.8,
    "xtick.color": "0.3",
    "ytick.color": "0.3",
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "figure.constrained_layout.use": True,
}
"""Matplotlib settings; used within `matplotlib.rc_context`, so that a caller's own stay as they are."""

DPI = 160


def save_figure(figure: Figure, output: str | Path) -> None:
    """Write a figure, in the format that the suffix of `output` names; equal figures give equal bytes."""
    with atomic_path(Path(output)) as temporary:
        date_free = {"Date": None} if temporary.suffix == ".svg" else {"Software": None}
        figure.savefig(temporary, dpi=DPI, metadata=date_free if temporary.suffix in (".svg", ".png") else None)


def describe_setting(setting: dict[str, Any]) -> str:
    """Name what the rows of one figure panel have in common, in two lines."""
    network = networks.find(setting["backbone"])
    backbone = setting["backbone"] if network is None else network.label
    codec = codecs.find(setting["codec"])
    return (
        f"{setting['dataset']} {setting['split']} · {backbone}\n"
        f"{setting['codec'] if codec is None else codec.label} {Rate(setting['rate']).label} · L = {setting['gop']}"
    )
