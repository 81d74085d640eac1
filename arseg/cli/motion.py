"""``arseg motion``: record the motion vectors of any video."""

from cyclopts import App

from arseg.motion.extract import extract_motion
from arseg.options import Count, Output, Video
from arseg.provenance.recording import records

motion = App(name="motion")
"""Loaded when one of its commands runs, because a group's own action cannot be named by import path."""

motion.command("arseg.cli.motion_show:show", help="Draw the vectors over the frames, as a video or a sheet.")


@motion.default
@records("motion", inputs=["video"], outputs=["output"])
def extract(
    video: Video, *, output: Output, composed: bool = False, subpixel: bool = False, max_frames: Count | None = None
) -> None:
    """Record the motion vectors of a video: as they are coded and, if asked to, composed to motion to the keyframes.

    Parameters
    ----------
    video : str
        Video whose codec's motion is read (docs/motion.md): a file, a network address, or - for standard input.
    output : Path
        HDF5 file to write; docs/motion.md describes it.
    composed : bool
        Let the file give motion to the keyframes as well, if every frame refers to earlier ones only.
    subpixel : bool
        Compose that without rounding vectors to whole pixels.
    max_frames : int
        How many frames to read; all by default.
    """
    recorded = extract_motion(video, output, composed=composed, subpixel=subpixel, max_frames=max_frames)
    if recorded.frames_lost or recorded.frames_damaged or recorded.ended_early:
        early = f"; it could not be read any further: {recorded.ended_early}" if recorded.ended_early else ""
        print(f"{video}: {recorded.frames_lost} frames lost, {recorded.frames_damaged} marked as damaged{early}")
    if composed and not recorded.composed:
        print(f"{video}: no motion to the keyframes: {recorded.composed_reason}")
    print(f"wrote {output}")
