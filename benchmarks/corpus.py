"""Run `arseg segment` and `arseg motion` on folders of any videos, and compare with what FFmpeg shows.

Each command runs in a process of its own with a limit of time, on networks with random weights. FFmpeg is PyAV with its
defaults in one thread, which continues after errors as players do. Rows go to a CSV file as they come; what is in it is
not run again. Exits with 1 if a command ended in a traceback or by a signal, did not end, or if frames are missing.

    python benchmarks/corpus.py ~/videos --output corpus.csv --jobs 4
"""

import argparse
import csv
import json
import multiprocessing
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import av.error
from tabulate import tabulate

from arseg.bench.examples import write_random_checkpoints
from arseg.cli.main import main as arseg
from arseg.codec.exported import EXPORTED_STANDARDS
from arseg.motion.file import MotionFile

PREFIX = "arseg: error: "
WITH_VECTORS = {"hevc", *EXPORTED_STANDARDS}
"""Codecs that the share of videos whose own motion serves is of."""

processes = multiprocessing.get_context("forkserver")


@dataclass
class Row:
    """What became of a file."""

    file: str
    codec: str = ""
    shown: int = 0
    """Frames by FFmpeg."""
    segmented: int = 0
    written: int = 0
    """Frames of the video that `segment` writes, decoded again."""
    recorded: int = 0
    """Frames in the file that `motion` writes."""
    lost: int = 0
    damaged: int = 0
    cut: int = 0
    motion: str = ""
    """own, or why it is not."""
    seconds: float = 0.0
    verdict: str = "same"
    """same, none (no video, and said so in one line), frames, traceback or hang."""
    segment_error: str = ""
    motion_error: str = ""


FAILURES = ("frames", "traceback", "hang")


class HangError(Exception):
    """A process did not end in its time."""


def run(limit: float, log: Path, function: Callable[..., Any], *arguments: Any) -> tuple[int, str]:
    """Call a function in a process of its own; return its exit code, and the last line that it wrote."""
    process = processes.Process(target=call, args=(log, function, *arguments))
    process.start()
    process.join(limit)
    if process.exitcode is None and process.pid is not None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()  # if it has no group yet
        process.join()
        raise HangError
    lines = log.read_text(errors="replace").strip().splitlines()
    return process.exitcode or 0, lines[-1] if lines else ""


def call(log: Path, function: Callable[..., Any], *arguments: Any) -> None:
    os.setsid()  # its own children end with it
    with log.open("w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    function(*arguments)


def show(video: Path, found: Path, max_frames: int | None) -> None:
    """Write how many frames FFmpeg shows, and of which codec; encrypted ones, which are garbage, are none."""
    codec, shown = "", 0
    found.write_text(json.dumps({"codec": codec, "shown": shown}))  # stays if PyAV itself fails
    with (
        suppress(av.error.FFmpegError, AttributeError, IndexError),
        av.open(str(video), metadata_errors="replace") as container,
    ):
        stream = container.streams.video[0]
        codec = stream.codec_context.name
        stream.thread_count = 1
        for packet in chain(container.demux(stream), [None]):
            if packet is not None and packet.has_sidedata("encryption_info"):
                break
            with suppress(av.error.FFmpegError):
                shown += len(stream.codec_context.decode(packet))
            if max_frames and shown >= max_frames:
                shown = max_frames
                break
            found.write_text(json.dumps({"codec": codec, "shown": shown}))
    found.write_text(json.dumps({"codec": codec, "shown": shown}))


def examine(video: Path, name: str, checkpoints: Sequence[Path], limit: float, max_frames: int | None) -> Row:
    row, started = Row(name), time.monotonic()
    with TemporaryDirectory() as created:
        folder = Path(created)
        found, summary, overlay, labels, motion = (
            folder / file for file in ("found.json", "summary.json", "overlay.mp4", "labels.h5", "motion.h5")
        )
        bound = ["--max-frames", str(max_frames)] if max_frames else []
        segment = ["segment", str(video), "--checkpoint", *map(str, checkpoints), "--summary", str(summary)]
        segment += ["--output", str(overlay), str(labels), str(folder / "areas.csv"), "--device", "cpu", *bound]
        codes = []
        try:
            run(limit, folder / "log", show, video, found, max_frames)
            row.codec, row.shown = json.loads(found.read_text()).values()
            for command, field in (
                (segment, "segment_error"),
                (["motion", str(video), "-o", str(motion), *bound], "motion_error"),
            ):
                code, line = run(limit, folder / "log", arseg, command)
                codes.append(code)
                if code:
                    setattr(row, field, line.removeprefix(PREFIX))
                if code and not line.startswith(PREFIX):
                    setattr(row, field, f"exit code {code}: {line}")
                    row.verdict = "traceback"
        except HangError:
            row.verdict = "hang"
        if summary.exists():
            told = json.loads(summary.read_text())
            row.segmented, row.motion = told["frames"], told["reencoded_because"] or "own"
            row.lost, row.damaged, row.cut = (
                told[f"frames_{what}"] for what in ("lost", "damaged", "cut_by_edit_list")
            )
            run(limit, folder / "log", show, overlay, found, None)
            row.written = json.loads(found.read_text())["shown"]
        if motion.exists():
            with MotionFile(motion) as file:
                row.recorded = len(file)
    if row.verdict == "same":
        segments, records = (not code for code in codes)
        if not row.shown and not segments and not records:
            row.verdict = "none"
        elif {row.segmented, row.written, row.recorded if records else row.shown} != {row.shown}:
            row.verdict = "frames"
    row.seconds = round(time.monotonic() - started, 1)
    return row


def find_videos(folders: Sequence[Path]) -> dict[str, Path]:
    """Return all files by name, below the folder that was named."""
    found: dict[str, Path] = {}
    for folder in folders:
        paths = [folder] if folder.is_file() else sorted(folder.rglob("*"))
        found |= {str(path.relative_to(folder.parent)): path for path in paths if path.is_file()}
    return found


def read_rows(output: Path) -> list[Row]:
    if not output.exists():
        return []
    with output.open(newline="", encoding="utf-8") as file:
        kinds: dict[str, Any] = {field.name: field.type for field in fields(Row)}
        return [Row(**{name: kinds[name](value) for name, value in line.items()}) for line in csv.DictReader(file)]


def summarize(rows: Sequence[Row]) -> str:
    verdicts = Counter(row.verdict for row in rows)
    of_standards = [row for row in rows if row.codec in WITH_VECTORS and row.shown]
    own = sum(row.motion == "own" for row in of_standards)
    share = f"{100 * own / len(of_standards):.0f} %" if of_standards else "none"
    return (
        f"{len(rows)} files: {verdicts['same']} with all frames, {verdicts['none']} without any (one line each), "
        f"{verdicts['frames']} with other frames, {verdicts['traceback']} tracebacks, {verdicts['hang']} hangs; "
        f"own motion in {own} of {len(of_standards)} H.264, HEVC and MPEG files ({share})"
    )


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders of videos, or videos")
    parser.add_argument("--output", type=Path, default=Path("corpus.csv"), help="table; rows that it has are kept")
    parser.add_argument("--jobs", type=int, default=1, help="files at a time")
    parser.add_argument("--limit", type=float, default=300, help="seconds that a command may take")
    parser.add_argument("--max-frames", type=int, help="frames to read of each file")
    arguments = parser.parse_args(words)
    processes.set_forkserver_preload(["__main__", "arseg.cli.segment", "arseg.cli.motion"])
    videos, rows = find_videos(arguments.folders), read_rows(arguments.output)
    for row in rows:
        videos.pop(row.file, None)
    with (
        TemporaryDirectory() as folder,
        arguments.output.open("a", newline="", encoding="utf-8") as file,
        ThreadPoolExecutor(arguments.jobs) as threads,
    ):
        table = csv.DictWriter(file, [field.name for field in fields(Row)], lineterminator="\n")
        if not rows:
            table.writeheader()
        networks = write_random_checkpoints(Path(folder), "tiny", 50)
        limits = arguments.limit, arguments.max_frames
        futures = [threads.submit(examine, path, name, networks, *limits) for name, path in videos.items()]
        for future in as_completed(futures):
            rows.append(row := future.result())
            table.writerow(asdict(row))
            file.flush()
            print(f"{len(rows)}: {row.file}: {row.verdict}", file=sys.stderr, flush=True)
    columns = ["file", "codec", "shown", "segmented", "recorded", "motion", "seconds", "verdict"]
    print(tabulate([[getattr(row, name) for name in columns] for row in rows], columns, maxcolwidths=50))
    for row in rows:
        if row.verdict != "same":
            print(f"{row.file}: {row.verdict}: {row.segment_error or row.motion_error}")
    print(summarize(rows))
    return int(any(row.verdict in FAILURES for row in rows))


if __name__ == "__main__":
    sys.exit(main())
