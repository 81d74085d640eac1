"""What a segmentation run did and cost, for people and for programs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from tabulate import tabulate

from arseg.infer import front_end
from arseg.infer.segment import Segmentation
from arseg.spec import MotionRules

NETWORK_STAGES = ("hr", "lr", "fusion")
STAGES = (*front_end.STAGES, "transfer", "normalize", *NETWORK_STAGES, "compare", "output")
"""In the order of a frame's way. The first three run ahead in a thread of their own, unless a keyframe policy needs
feedback."""

MAX_CLASSES_SHOWN = 40


def summarize(segmentation: Segmentation, num_frames: int, seconds: float) -> dict[str, Any]:
    """Collect what happened.

    Parameters
    ----------
    segmentation : Segmentation
        After its last frame.
    num_frames : int
        Frames that it gave.
    seconds : float
        Wall clock from the first to the last.

    Returns
    -------
    summary : dict
        Builtins only. Keyframes are counted by reason. Times are in seconds, ``network_ms_per_frame`` in milliseconds,
        agreements 0 ... 1.
    """
    watch, video, motion = segmentation.watch, segmentation.front_end.video, segmentation.motion
    hr, lr = segmentation.branches
    network = sum(watch.seconds[stage] for stage in NETWORK_STAGES)
    summary: dict[str, Any] = {
        "frames": num_frames,
        "seconds": round(seconds, 3),
        "frames_per_second": round(num_frames / seconds, 3) if seconds else None,
        "backbone": hr.spec.backbone,
        "scale_percent": (lr or hr).spec.scale_percent,
        "keyframes": dict(segmentation.keyframes) if lr else None,
        "motion": None if motion is None else asdict(motion),
        "motion_of_training": None if lr is None else asdict(lr.motion),
        "network_ms_per_frame": round(1000 * network / num_frames, 3) if num_frames else None,
        "stage_seconds": {stage: round(watch.seconds[stage], 3) for stage in STAGES if watch.runs[stage]},
    }
    if video is not None:
        damage = video.damage
        summary |= {
            "reencoded_because": video.reencoded_because,
            "frames_lost": damage.num_lost,
            "damaged_places": damage.num_places,
            "damage": damage.messages,
            "ended_early": damage.ended_early,
        }
    if segmentation.agreement is not None and num_frames:
        summary["compared_with_hr"] = _comparison(segmentation, network / num_frames)
    return summary


def _comparison(segmentation: Segmentation, network_seconds: float) -> dict[str, Any]:
    agreement, watch = segmentation.agreement, segmentation.watch
    assert agreement is not None
    hr_seconds = watch.seconds["compare"] / max(1, watch.runs["compare"])
    per_class = zip(segmentation.classes, agreement.iou_per_class(), strict=True)
    return {
        "mean_iou": round(agreement.mean_iou(), 6),
        "same_pixels": round(agreement.same_pixels(), 6),
        "mean_iou_by_distance": {str(d): round(agreement.mean_iou(d), 6) for d in agreement.distances},
        "iou": {cls.name: None if np.isnan(iou) else round(float(iou), 6) for cls, iou in per_class},
        "hr_ms_per_frame": round(1000 * hr_seconds, 3),
        "ar_ms_per_frame": round(1000 * network_seconds, 3),
        "ar_to_hr": round(network_seconds / hr_seconds, 4) if hr_seconds else None,
    }


def describe(summary: Mapping[str, Any]) -> str:
    """Put a summary into words and tables.

    Parameters
    ----------
    summary : mapping
        From `summarize`.

    Returns
    -------
    text : str
        Several lines.
    """
    lines = [f"{summary['frames']} frames in {summary['seconds']:.1f} s: {summary['frames_per_second']} frames/s"]
    if summary["keyframes"] is not None:
        reasons = ", ".join(f"{number} {reason}" for reason, number in summary["keyframes"].items())
        lines.append(f"keyframes: {sum(summary['keyframes'].values())} ({reasons})")
    if summary.get("reencoded_because"):
        lines.append(f"motion: from encoding again on the fly ({summary['reencoded_because']})")
    elif summary["keyframes"] is not None:
        lines.append("motion: the stream's own")
    if summary["motion"] is not None:
        rules, trained = (MotionRules(**summary[name]) for name in ("motion", "motion_of_training"))
        difference = rules.difference(trained)
        lines.append(f"motion is made {rules}{f'; not as in training: {difference}' if difference else ''}")
    if summary.get("frames_lost") or summary.get("ended_early"):
        early = f"; nothing could be read after them: {summary['ended_early']}" if summary["ended_early"] else ""
        lines.append(f"left out: {summary['frames_lost']} frames at {summary['damaged_places']} places{early}")
    stages = summary["stage_seconds"]
    total = summary["seconds"] or 1.0
    rows = [[stage, f"{spent:.2f}", f"{100 * spent / total:.1f}"] for stage, spent in stages.items()]
    lines.append(tabulate(rows, ["stage", "seconds", "% of time"], colalign=("left", "right", "right")))
    lines.append("decode, motion and convert can run beside the networks, so shares may add up to more than 100 %.")
    if compared := summary.get("compared_with_hr"):
        lines += ["", _describe_comparison(summary, compared)]
    return "\n".join(lines)


def _describe_comparison(summary: Mapping[str, Any], compared: Mapping[str, Any]) -> str:
    speed = [
        ["HR on every frame", f"{compared['hr_ms_per_frame']:.1f}", "100", "100"],
        [
            f"AR {summary['scale_percent'] / 100:.2g}x",
            f"{compared['ar_ms_per_frame']:.1f}",
            f"{100 * compared['ar_to_hr']:.1f}",
            f"{100 * compared['mean_iou']:.2f}",
        ],
    ]
    parts = [tabulate(speed, ["networks", "ms/frame", "% of HR's time", "mIoU with HR"], disable_numparse=True)]
    parts.append(f"{100 * compared['same_pixels']:.2f} % of all pixels have the same class in both.")
    distances = [[d, f"{100 * iou:.2f}"] for d, iou in compared["mean_iou_by_distance"].items()]
    parts.append(tabulate(distances, ["distance", "mIoU with HR"], disable_numparse=True))
    classes = [[name, f"{100 * iou:.2f}"] for name, iou in compared["iou"].items() if iou is not None]
    parts.append(tabulate(classes[:MAX_CLASSES_SHOWN], ["class", "IoU with HR"], disable_numparse=True))
    return "\n\n".join(parts)
