"""``arseg bench``: how fast this machine does what arseg does."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from arseg.bench import attention as attention_
from arseg.bench import inference as inference_
from arseg.bench import motion as motion_
from arseg.bench import preprocess as preprocess_
from arseg.bench import training as training_
from arseg.bench.report import publish
from arseg.models.device import resolve_device
from arseg.provenance.recording import records

Flattened = Parameter(name="*")

DEFAULT_ATTENTION = attention_.AttentionOptions()
DEFAULT_INFERENCE = inference_.InferenceOptions()
DEFAULT_MOTION = motion_.MotionOptions()
DEFAULT_PREPROCESS = preprocess_.PreprocessOptions()
DEFAULT_TRAINING = training_.TrainingOptions()


@records("bench attention", outputs=["output"])
def attention(
    *,
    options: Annotated[attention_.AttentionOptions, Flattened] = DEFAULT_ATTENTION,
    device: str = "auto",
    quick: bool = False,
    output: Path | None = None,
) -> None:
    """Time the local attention, and CReFF around it, against what the machine's memory and arithmetic allow.

    Parameters
    ----------
    options : AttentionOptions
        What to measure.
    device : str
        auto, cpu, cuda or cuda:N.
    quick : bool
        Small sizes, for a first look.
    output : Path
        JSON file to write, with machine, versions and command.
    """
    where = resolve_device(device)
    publish(attention_.bench_attention(options, where, quick=quick), where, output)


@records("bench inference", inputs=["checkpoint"], outputs=["output"], folder_contents=False)
def inference(
    *,
    options: Annotated[inference_.InferenceOptions, Flattened] = DEFAULT_INFERENCE,
    checkpoint: list[Path] | None = None,
    device: str = "auto",
    quick: bool = False,
    output: Path | None = None,
) -> None:
    """Time frames of HR and of AR-Seg: the networks, their parts, and a video from its bitstream to its labels.

    Parameters
    ----------
    options : InferenceOptions
        What to measure.
    checkpoint : list of Path
        An LR branch and its HR branch, or a folder with them, in place of random weights.
    device : str
        auto, cpu, cuda or cuda:N.
    quick : bool
        Small sizes, for a first look.
    output : Path
        JSON file to write, with machine, versions and command.
    """
    where = resolve_device(device)
    publish(inference_.bench_inference(options, where, checkpoint=checkpoint or (), quick=quick), where, output)


@records("bench motion", inputs=["video"], outputs=["output"])
def motion(
    video: Path | None = None,
    *,
    options: Annotated[motion_.MotionOptions, Flattened] = DEFAULT_MOTION,
    quick: bool = False,
    output: Path | None = None,
) -> None:
    """Time the recording of motion vectors against plain decoding of the same video.

    Parameters
    ----------
    video : Path
        The video; drawn if left out.
    options : MotionOptions
        What to measure.
    quick : bool
        A few small pictures, once, for a first look.
    output : Path
        JSON file to write, with machine, versions and command.
    """
    publish(motion_.bench_motion(options, video, quick=quick), None, output)


@records("bench preprocess", outputs=["output"])
def preprocess(
    *,
    options: Annotated[preprocess_.PreprocessOptions, Flattened] = DEFAULT_PREPROCESS,
    quick: bool = False,
    output: Path | None = None,
) -> None:
    """Time the making of clip stores against the encoder's own time.

    Parameters
    ----------
    options : PreprocessOptions
        What to measure.
    quick : bool
        Small sizes, for a first look.
    output : Path
        JSON file to write, with machine, versions and command.
    """
    publish(preprocess_.bench_preprocess(options, quick=quick), None, output)


@records("bench training", outputs=["output"])
def training(
    *,
    options: Annotated[training_.TrainingOptions, Flattened] = DEFAULT_TRAINING,
    device: str = "auto",
    quick: bool = False,
    output: Path | None = None,
) -> None:
    """Time both phases of training: samples alone, steps and their waiting, and the start up to the first batch.

    Parameters
    ----------
    options : TrainingOptions
        What to measure.
    device : str
        auto, cpu, cuda or cuda:N.
    quick : bool
        Small sizes, for a first look.
    output : Path
        JSON file to write, with machine, versions and command.
    """
    where = resolve_device(device)
    publish(training_.bench_training(options, where, quick=quick), where, output)
