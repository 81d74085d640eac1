"""The configuration of the experiment that adapts a network to videos, and Snakemake's run of it."""

import math
import re
import shlex
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, TextIO

import yaml

from arseg.config import parse_size
from arseg.datasets.videos.footage import check_shape, common_size, count_frames, find_videos, open_container, survey
from arseg.datasets.videos.sampling import choose_samples
from arseg.errors import CodecError, ConfigError
from arseg.files import atomic_path
from arseg.options import Count
from arseg.progress import track
from arseg.spec import ClipTail, NetworkSpec

SNAKEFILE = Path(__file__).resolve().parents[2] / "Snakefile"
NAME = "adapted"
"""Name of the experiment, and of its data set."""
TOTAL, STEP = re.compile(r"total\s+(\d+)"), re.compile(r"\d+ of \d+ steps")
"""What Snakemake says of all jobs before the first, and after each."""
JOB_ERROR = re.compile(r"^arseg: error: (.*?)\n====", re.MULTILINE | re.DOTALL)
"""What a command of ours says at its end, in what Snakemake shows of the job's log."""
LAST_LINES = 20
TAIL: ClipTail = "annotated"
"""Clips end at their sampled frame."""
SHEET = "videos.csv"
"""Name of the sheet of videos in the folder."""


@dataclass(frozen=True)
class VideoFormat:
    """What clips should have in common with the videos."""

    codec: str
    """``hevc`` where the first video is HEVC, else ``h264``."""
    bits_per_pixel: Fraction
    """Of its stream, on average."""
    fps: str
    """Its frames per second, as a configuration writes them."""

    def rate(self, width: int, height: int) -> str:
        """Return the bitrate at which frames of a size are coded as finely, as a configuration writes it."""
        return f"{max(1, round(self.bits_per_pixel * width * height * Fraction(self.fps) / 1000))}k"


def read_format(video: Path) -> VideoFormat:
    """Return the format of a video.

    Raises
    ------
    CodecError, FileAccessError
        If it cannot be read as a video, or has no frame rate.
    """
    with open_container(video) as container:
        stream = container.streams.video[0]
        if not (fps := stream.average_rate):
            raise CodecError(f"{video}: does not say how many frames a second has. Write it anew: ffmpeg -i IN OUT.mp4")
        rate = stream.bit_rate or container.bit_rate
        if not rate:
            rate = round(video.stat().st_size * 8 * fps / count_frames(video))
        return VideoFormat(
            codec="hevc" if stream.codec_context.name == "hevc" else "h264",
            bits_per_pixel=rate / fps / (stream.width * stream.height),
            fps=str(fps),
        )


@dataclass(frozen=True)
class Adaptation:
    """How to adapt a network."""

    scales: tuple[float, ...] = (0.5,)
    """Resolutions of the LR branches, between 0 and 1."""
    samples: Count = 150
    """How many frames of the videos to label, in all."""
    confidence: float = 0.5
    """Least probability of the network's class; where it is less sure, pixels are ignored."""
    gop: int = 12
    """Frames from one keyframe to the next."""
    epochs: Count = 20
    """Passes of a training through the sampled frames."""
    batch_size: Count = 4
    """Frames in a batch."""
    size: str | None = None
    """Width and height in pixels that all frames get (640x360); by default the size that most videos have."""
    seed: int = 233
    """Seed of all randomness."""

    def __post_init__(self) -> None:
        for scale in self.scales:
            if not (0 < scale < 1 and math.isclose(100 * scale, round(100 * scale))):
                raise ConfigError(f"--scales {scale:g}: expected whole percentages below 1, like 0.5 or 0.3")
        if not 0 <= self.confidence < 1:
            raise ConfigError(f"--confidence {self.confidence:g}: expected a probability from 0, below 1")
        if not 2 <= self.gop <= 99:
            raise ConfigError(f"--gop {self.gop}: expected 2 to 99 frames")


def configuration(
    videos: Sequence[str], hr: Path, spec: NetworkSpec, options: Adaptation, device: str, sheet: Path
) -> dict[str, Any]:
    """Return the configuration of the experiment, as YAML has it.

    Parameters
    ----------
    videos : sequence of str
        Files and patterns, as `arseg.datasets.videos.sampling.find_videos` takes them.
    hr : Path
        Checkpoint of the HR branch.
    spec : NetworkSpec
        What it is.
    options : Adaptation
        How to adapt it.
    device : str
        Where networks run, as in a configuration.
    sheet : Path
        Sheet of videos that `write_folder` writes.

    Raises
    ------
    DataError, CodecError, FileAccessError
        If a video is missing, cannot be read, or does not go with the size of all; or if the videos are too short.
    """
    footage = survey({str(path): path for pattern in videos for path in find_videos(pattern).values()})
    width, height = parse_size(options.size)[::-1] if options.size else common_size(footage.values())
    for video in footage.values():
        check_shape(video, (width, height))
    choose_samples({name: video.num_frames for name, video in footage.items()}, options.samples, options.gop, TAIL)
    sizes = {(width, height), *(video.size for video in footage.values())}
    form = read_format(next(iter(footage.values())).path)
    size = f"{width}x{height}"
    return {
        "name": NAME,
        "seeds": [options.seed],
        "codecs": [form.codec],
        "gops": [options.gop],
        "scales": [*options.scales],
        "modes": ["hr", "lr", "warp", "ar"],
        "panel_scale": options.scales[0],
        "device": device,
        "datasets": {
            NAME: {
                "kind": "videos",
                "source": {
                    **{"videos": str(sheet), "samples": options.samples, "confidence": options.confidence},
                    **({"size": size} if len(sizes) > 1 else {}),
                },
                "hr": {"checkpoint": str(hr)},
                "fps": form.fps,
                "rates": [form.rate(width, height)],
                "clip_tail": TAIL,
                "backbones": [spec.backbone],
                "training": {
                    "crop": size,
                    "random_scales": [0.75, 1.0, 1.25],
                    "jitter": 0.3,
                    "normalization": spec.normalization,
                    "learning_rate": 0.001,
                    "epochs": options.epochs,
                    "batch_size": options.batch_size,
                    "initial_weights": str(hr),
                    "start_from": "hr",
                    "fusion": "gated",
                    "distances": "all",
                    "unfused_epochs": 0,
                    "validate_every": max(1, options.epochs // 4),
                },
            }
        },
    }


def write_folder(folder: Path, videos: Sequence[str], config: dict[str, Any]) -> Path:
    """Write the sheet of videos and the configuration of an experiment into its folder; return the latter.

    A configuration that is there already is left alone where it is the same, so that nothing is made again.

    Raises
    ------
    ConfigError
        If another configuration is there.
    """
    path = folder / "config.yaml"
    text = yaml.safe_dump(config, sort_keys=False)
    if path.exists() and path.read_text(encoding="utf-8") != text:
        raise ConfigError(
            f"{path}: is of another run, with other options. Choose another folder (-o), or edit the file and go on "
            f"with: {shlex.join(['snakemake', *_place(path), '--configfile', str(path), '--cores', '2'])}"
        )
    sheet = folder / SHEET
    lines = [str(file.resolve()) for pattern in videos for file in find_videos(pattern).values()]
    with atomic_path(sheet) as temporary:
        temporary.write_text("\n".join(["video", *dict.fromkeys(lines), ""]), encoding="utf-8")
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def run_workflow(config: Path, cores: int, words: Sequence[str] = ()) -> None:
    """Run Snakemake in the folder of a configuration, with a progress bar of its jobs.

    What Snakemake says is added to ``snakemake.log`` in the folder.

    Parameters
    ----------
    config : Path
        Configuration of the experiment.
    cores : int
        Cores to use.
    words : sequence of str
        More options of Snakemake, for example an executor's.

    Raises
    ------
    ConfigError
        If the workflow is not there, or a job fails; the message has Snakemake's last words.
    """
    if not SNAKEFILE.exists():
        raise ConfigError(f"{SNAKEFILE}: no such file. Run arseg from a checkout, which has the workflow")
    folder = config.parent
    program = shutil.which("snakemake", path=str(Path(sys.executable).parent)) or "snakemake"
    command = [program, *_place(config), "--cores", str(cores), "--nocolor"]
    command += ["--rerun-incomplete", *words, "--configfile", str(config)]
    with (folder / "snakemake.log").open("a", encoding="utf-8") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        said: deque[str] = deque(maxlen=3 * LAST_LINES)
        try:
            lines = _lines(process, log, said)
            total = next((int(match[1]) for line in lines if (match := TOTAL.match(line))), None)
            for _step in track((line for line in lines if STEP.search(line)), "jobs", total):
                pass
        except BaseException:
            process.terminate()
            raise
        finally:
            process.wait()
    if process.returncode:
        raise ConfigError(f"{folder}: a job of the workflow failed; {folder}/snakemake.log says more.\n{_reason(said)}")


def _place(config: Path) -> list[str]:
    return ["--snakefile", str(SNAKEFILE), "--directory", str(config.parent)]


def _reason(said: Iterable[str]) -> str:
    """Return what a job of ours said last, which Snakemake shows between lines of its own; else all that was said."""
    if job := JOB_ERROR.search(text := "".join(said)):
        return f"  {job[1]}"
    return "It ended:\n" + "".join(f"  {line}\n" for line in text.splitlines()[-LAST_LINES:])


def _lines(process: "subprocess.Popen[str]", log: TextIO, said: "deque[str]") -> Iterator[str]:
    assert process.stdout
    for line in process.stdout:
        log.write(line)
        log.flush()
        said.append(line)
        yield line
