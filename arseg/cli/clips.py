"""``arseg clips``."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from arseg.cli.recorded import classes, encoder_of, ffmpeg_version_of
from arseg.data.clips import make_clip_stores, store_path
from arseg.data.manifest import read_manifest
from arseg.errors import ConfigError
from arseg.options import ManifestFile
from arseg.provenance.recording import Arguments, records
from arseg.spec import Encoding


def stores(arguments: Arguments) -> list[Path]:
    """Name the stores that are written."""
    return [store_path(arguments["output"], distance) for distance in _distances(**arguments)]


@records("clips", inputs=["manifest", classes], outputs=[stores], facts=ffmpeg_version_of, describe=encoder_of)
def clips(
    *,
    manifest: ManifestFile,
    split: str,
    output: Path,
    distances: list[int] | None = None,
    all_distances: bool = False,
    shard: int = 0,
    num_shards: int = 1,
    ffmpeg: str | None = None,
    threads: int = 1,
    encoding: Annotated[Encoding, Parameter(name="*", group="Compression")] = Encoding(),
) -> None:
    """Compress a split's clips and store decoded frames with the motion that leads to their keyframe.

    Parameters
    ----------
    split : str
        Split whose annotated frames are wanted.
    output : Path
        Folder for the clip stores, one file per reference distance: d00.h5, d01.h5, ...
    distances : list of int
        Reference distances; the largest (gop - 1) by default.
    all_distances : bool
        All distances 0 ... gop - 1.
    shard : int
        Which part of the split's clips to make, from 0.
    num_shards : int
        Into how many parts the clips are divided.
    ffmpeg : str
        FFmpeg to encode with; the one of the Python environment by default.
    threads : int
        Threads of the encoder. Changes no result; HEVC only.
    """
    if threads < 1:
        raise ConfigError(f"threads {threads}: the encoder needs at least 1")
    for path in make_clip_stores(
        read_manifest(manifest),
        split,
        encoding,
        distances=_distances(distances, all_distances, encoding),
        shard=shard,
        num_shards=num_shards,
        output=output,
        ffmpeg=ffmpeg,
        threads=threads,
    ):
        print(f"wrote {path}")


def _distances(distances: list[int] | None, all_distances: bool, encoding: Encoding, **_: object) -> list[int]:
    return list(range(encoding.gop)) if all_distances else distances or [encoding.gop - 1]
