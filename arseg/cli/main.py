"""The ``arseg`` command: parsing, logging and exit codes; each command is one importable function elsewhere.

Commands are named by import path and loaded when they run, so that ``arseg --help`` does not wait for PyTorch.
"""

import logging
import os
import shlex
import sys
from pathlib import Path

from cyclopts import App, CycloptsError, CycloptsPanel, Parameter

from arseg import __version__
from arseg.access import HINTS, ONLY_OF_WRITING, access_error
from arseg.errors import ArsegError
from arseg.provenance.recording import command_line

# Feature maps of a hundred megabytes come and go: in pages of 4 KiB, having them costs as much as filling them. PyTorch
# reads this when it first needs memory; Linux gives large pages where they are allowed.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# Threads of OpenMP wait for one another in loops, for milliseconds: beside one busy neighbour, networks ran ten times
# slower. So many rounds cost an idle machine a few per cent, and a shared one a quarter (docs/inference-speed.md).
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

app = App(
    name="arseg",
    help="Semantic segmentation of compressed video: keyframes in high resolution, the rest in low, joined by motion.",
    version=__version__,
    default_parameter=Parameter(consume_multiple=True, negative_iterable=()),
)
camvid = App(name="camvid", help="Turn what one downloads of CamVid into frames and index labels.")
cityscapes = App(name="cityscapes", help="Fetch Cityscapes; turn its label ids into train ids.")
train = App(name="train", help="Train the networks.")
checkpoint = App(name="checkpoint", help="Look at checkpoints; read and write published ones.")
plot = App(name="plot", help="Draw figures.")
bench = App(name="bench", help="Measure how fast this machine does what arseg does.")
videos = App(name="videos", help="Sample and label videos that have no labels; segment many.")
native = App(name="native", help="Compile the program that reads motion from HEVC.")

app.command("arseg.cli.doctor:doctor", help="Check what this machine offers; say how to get what is missing.")
app.command("arseg.cli.plan:plan", help="Print the jobs that a configuration still needs, and their time.")
app.command("arseg.cli.provenance:provenance", help="Print where a result comes from.")
app.command("arseg.cli.synthesize:synthesize", help="Draw the synthetic street scenes.")
app.command("arseg.cli.download:download", help="Download one file from its mirrors, continuing where it broke off.")
app.command(camvid)
camvid.command("arseg.cli.camvid:frames", help="Decode a video into numbered frames.")
camvid.command("arseg.cli.camvid:labels", help="Turn colour labels into index labels.")
camvid.command("arseg.cli.camvid:verify", help="Check frames, stills and labels against one another.")
app.command(cityscapes)
cityscapes.command("arseg.cli.cityscapes:download", help="Download a package with your login.")
cityscapes.command("arseg.cli.cityscapes:unpack", help="Unpack what is needed of the packages.")
cityscapes.command("arseg.cli.cityscapes:labels", help="Turn label ids into train ids.")
cityscapes.command("arseg.cli.cityscapes:verify", help="Check that frames and labels are whole.")
app.command(videos)
videos.command("arseg.cli.videos:sample", help="Sample frames, with those that clips around them need.")
videos.command("arseg.cli.videos:label", help="Label them by a finished HR branch.")
videos.command("arseg.cli.many:segment", help="Segment one of many, or a part of it, into a folder.")
videos.command("arseg.cli.many:tabulate", help="Write a table with a line per segmented video.")
videos.command("arseg.cli.many:check", help="Say which of them could not be segmented.")
app.command("arseg.cli.labels:labels", help="Turn label maps in colours into class indices.")
app.command(
    "arseg.cli.manifest:app",
    name="manifest",
    help="Write the manifest of a data set: its annotated frames and its classes.",
)
app.command("arseg.cli.clips:clips", help="Compress clips; store decoded frames with their motion.")
app.command("arseg.cli.import_clips:import_clips", name="import", help="Make clip stores of published data.")
app.command("arseg.cli.motion:motion", help="Record the motion vectors of any video, or draw them.")
app.command("arseg.cli.imagenet:imagenet", help="Fetch the ImageNet weights that backbones start from.")
app.command(train)
train.command("arseg.cli.train:phase1", help="Train the HR branch, or the LR baseline.")
train.command("arseg.cli.train:phase2", help="Train the LR branch of AR-Seg.")
app.command("arseg.cli.segment:segment", help="Segment a video.")
app.command("arseg.cli.adapt:adapt", help="Train an LR branch beside your own network, on your own videos.")
app.command("arseg.cli.evaluate:evaluate", help="Score networks at every reference distance.")
app.command("arseg.cli.evaluate_published:evaluate_published", help="Score published checkpoints on published data.")
app.command(checkpoint)
checkpoint.command("arseg.cli.checkpoint:import_published", name="import", help="Read a published checkpoint.")
checkpoint.command("arseg.cli.checkpoint:create", help="Make one of a finished network of your own.")
checkpoint.command("arseg.cli.checkpoint:export_published", name="export", help="Write one as published.")
checkpoint.command("arseg.cli.checkpoint:show", help="Say what a checkpoint is.")
app.command("arseg.cli.tables:tabulate", help="Collect evaluations into tables.")
app.command("arseg.cli.compare:compare", help="Put results beside the published ones.")
app.command(plot)
plot.command("arseg.cli.curves:curves", help="Draw scores by distance, and by cost.")
plot.command("arseg.cli.panel:panel", help="Draw examples.")
app.command("arseg.cli.export:export", help="Write networks as ONNX files.")
app.command(bench)
bench.command("arseg.bench.attention:attention", help="The local attention, and CReFF around it.")
bench.command("arseg.bench.inference:inference", help="Frames of HR and of AR-Seg, from a bitstream to labels.")
bench.command("arseg.bench.motion:motion", help="Motion vectors of a video, against plain decoding.")
bench.command("arseg.bench.preprocess:preprocess", help="Clips: encoding, decoding, motion, writing.")
bench.command("arseg.bench.training:training", help="Training steps of both phases.")
app.command(native)
native.command("arseg.cli.native:build", help="Compile it, unless it is there.")
native.command("arseg.cli.native:path", help="Print where it is.")


def main(arguments: list[str] | None = None) -> None:
    """Run a command; exit with 2 (or the error's own code) and one message if the user can fix what is wrong.

    Parameters
    ----------
    arguments : list of str, optional
        Words of the command line; those of this process if left out. ``--debug`` among them shows the traceback of
        an error that would otherwise be one message.
    """
    words = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    if not {"--help", "-h", "--version"} & set(words):
        logging.getLogger(__name__).info("arseg %s: %s", __version__, shlex.join(["arseg", *words]))
    try:
        with command_line(words):
            _show_whole_docstring(words)
            app(words, exit_on_error=False, result_action="return_value", error_formatter=_explain)
            sys.stdout.flush()
    except CycloptsError:  # already printed, in a box
        sys.exit(2)
    except BrokenPipeError:  # `arseg ... | head` has seen enough; nothing more may be written at exit, either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except (ArsegError, OSError) as error:
        told = error if isinstance(error, ArsegError) else _refusal(error)
        if debug or told is None:
            raise
        print(f"arseg: error: {told}", file=sys.stderr)
        sys.exit(told.exit_code)


def _show_whole_docstring(words: list[str]) -> None:
    """Let a command's own help show its docstring, and not the line that stands in the list of commands."""
    names, path, _ = app.parse_commands(words)
    commands = [command for command in path if command.default_command and command.name[0] in names]
    if commands:
        commands[-1].help = None


def _explain(error: CycloptsError) -> object:
    """Return what is printed of an invalid command line: the words of our own types where they refuse a value."""
    cause = error.__cause__ or error.__context__
    return CycloptsPanel(str(cause) if isinstance(cause, ArsegError) else error)


def _refusal(error: OSError) -> ArsegError | None:
    """Return what to say of an error of the operating system that nobody expected, if users can help it."""
    if error.errno not in HINTS or error.filename is None:
        return None
    return access_error(Path(os.fsdecode(error.filename)), error, writes=error.errno in ONLY_OF_WRITING)
