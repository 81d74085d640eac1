"""``arseg synthesize``."""

from pathlib import Path

from arseg.data.synthetic.dataset import synthesize as synthesize_frames
from arseg.provenance.recording import records


@records("synthesize", outputs=["output"])
def synthesize(
    *,
    output: Path,
    seed: int = 0,
    num_train_sequences: int = 12,
    num_val_sequences: int = 2,
    num_test_sequences: int = 4,
    frames_per_sequence: int = 27,
    annotate_every: int = 2,
    width: int = 192,
    height: int = 128,
    gop: int = 12,
    workers: int = 1,
) -> None:
    """Draw synthetic street videos: frames, exact labels, classes and splits (train, val, test).

    Parameters
    ----------
    output : Path
        Folder to write.
    seed : int
        Seed of all scenes.
    num_train_sequences : int
        Videos to train on.
    num_val_sequences : int
        Videos to choose the best epoch by.
    num_test_sequences : int
        Videos to test on.
    frames_per_sequence : int
        Length of a video; at least 2 gop - 1.
    annotate_every : int
        Step from one annotated frame of a video to the next.
    width : int
        Width of the frames in pixels.
    height : int
        Height of the frames in pixels.
    gop : int
        Largest group of pictures that clips shall have room for.
    workers : int
        Processes that draw; changes no file.
    """
    synthesize_frames(
        output,
        seed=seed,
        num_train_sequences=num_train_sequences,
        num_val_sequences=num_val_sequences,
        num_test_sequences=num_test_sequences,
        frames_per_sequence=frames_per_sequence,
        annotate_every=annotate_every,
        width=width,
        height=height,
        gop=gop,
        num_workers=workers,
    )
    print(f"wrote {output}")
