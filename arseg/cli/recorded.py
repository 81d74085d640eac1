"""What several commands record of themselves: inputs that no option names, and the programs that made a result."""

from pathlib import Path

import h5py

from arseg.codec.ffmpeg import ffmpeg_version, find_ffmpeg
from arseg.errors import CodecError
from arseg.hdf5 import as_builtin
from arseg.provenance.recording import Arguments


def classes(arguments: Arguments) -> list[Path]:
    """Return the sheet of classes, which is read with the manifest beside it."""
    manifest = arguments["manifest"]
    return [] if manifest is None else [_classes_beside(manifest)]


def written_classes(arguments: Arguments) -> list[Path]:
    """Return the sheet of classes, which is written with the manifest beside it."""
    return [_classes_beside(arguments["output"])]


def ffmpeg_version_of(arguments: Arguments) -> dict[str, str]:
    """Return program and version of the FFmpeg that a command uses; if there is none, the command says so itself."""
    try:
        program = find_ffmpeg(arguments["ffmpeg"])
        return {"ffmpeg": f"{ffmpeg_version(program)} ({program})"}
    except CodecError:
        return {}


def encoder_of(store: Path) -> dict[str, str]:
    """Return the encoder's own words about itself, which a clip store keeps."""
    with h5py.File(store, "r", locking=False) as file:
        facts = {name: as_builtin(file.attrs[name]) for name in ("encoder", "encoder_parameters")}
    return {name: text for name, text in facts.items() if text}


def _classes_beside(manifest: Path) -> Path:
    return manifest.with_name(f"{manifest.stem}.classes.csv")
