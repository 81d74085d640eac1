"""``arseg camvid``: from what one downloads of CamVid to frames and index labels."""

import json
import tempfile
from pathlib import Path

from arseg.cli.recorded import ffmpeg_version_of
from arseg.codec.ffmpeg import find_ffmpeg
from arseg.codec.video import extract_frames
from arseg.data.archives import extract_only
from arseg.datasets.camvid.manifest import write_camvid_labels
from arseg.datasets.camvid.verify import verify_camvid
from arseg.errors import CodecError
from arseg.files import atomic_path
from arseg.provenance.recording import records

VIDEO_SUFFIXES = (".mxf", ".avi")


@records("camvid frames", inputs=["source"], outputs=["output"], facts=ffmpeg_version_of)
def frames(source: list[Path], *, sequence: str, output: Path, ffmpeg: str | None = None, threads: int = 1) -> None:
    """Decode a video into PNG frames with numbers from 1.

    Parameters
    ----------
    source : list of Path
        The video, a zip archive with it, or the parts of one in order.
    sequence : str
        Name of the sequence, with which names of frames begin.
    output : Path
        Folder to write.
    ffmpeg : str
        FFmpeg program to use; the environment variable ARSEG_FFMPEG, or imageio-ffmpeg's own, by default.
    threads : int
        Threads of the decoder; changes no frame.
    """
    pattern = f"{sequence}_%06d.png"
    ffmpeg = find_ffmpeg(ffmpeg)  # before gigabytes are unpacked
    if len(source) == 1 and source[0].suffix.lower() in VIDEO_SUFFIXES:
        num_frames = extract_frames(source[0], output, pattern, ffmpeg_path=ffmpeg, threads=threads)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        # The video may be larger than the disk of temporary files: it lies beside the frames as long as it is needed.
        with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{sequence}-") as folder:
            video = Path(folder) / sequence
            extract_only(source, VIDEO_SUFFIXES, video)
            try:
                num_frames = extract_frames(video, output, pattern, ffmpeg_path=ffmpeg, threads=threads)
            except CodecError as error:
                raise CodecError(f"{' + '.join(map(str, source))}, unpacked to a temporary file: {error}") from error
    print(f"wrote {num_frames} frames to {output}")


@records("camvid labels", inputs=["source"], outputs=["output"])
def labels(source: Path, *, output: Path) -> None:
    """Convert CamVid's colour labels to index labels; colours of none of the twelve classes become 255.

    Parameters
    ----------
    source : Path
        LabeledApproved_full or the Kaggle package, a zip archive or a folder.
    output : Path
        Folder to write.
    """
    print(f"wrote {write_camvid_labels(source, output)} labels to {output}")


@records("camvid verify", inputs=["frames", "stills", "labels", "sequences"], outputs=["output"])
def verify(*, frames: Path, stills: Path, labels: Path, sequences: Path, output: Path) -> None:
    """Check that frames are whole, and that stills are the same images as the decoded frames with their numbers.

    Parameters
    ----------
    frames : Path
        Folder with one folder of decoded frames per sequence.
    stills : Path
        Folder or zip archive of the annotated stills.
    labels : Path
        Folder of index labels.
    sequences : Path
        CSV that relates the numbers of stills and decoded frames.
    output : Path
        Report to write (JSON).
    """
    report = verify_camvid(frames, stills, labels, sequences)
    with atomic_path(output) as temporary:
        temporary.write_text(json.dumps(report, indent=2) + "\n")
    for name, facts in report.items():
        difference = facts["mean_difference"]
        print(f"{name}: {facts['frames']} frames, {facts['stills']} stills, mean difference {difference} of 255")
    print(f"wrote {output}")
