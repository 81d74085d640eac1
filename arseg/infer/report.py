"""What a segmentation run did and cost, for people and for programs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tabulate import tabulate

from arseg.infer import front_end
from arseg.infer.segment import Segmentation
from arseg.spec import MotionRules

NETWORK_STAGES = ("hr", "lr", "fusion")
STAGES = (*front_end.STAGES, "transfer", "normalize", *NETWORK_STAGES, "compare", "output")
"""In the order of a frame's way. The first three run ahead in a thread of their own, unless a keyframe policy needs
feedback."""

CLASS_COLUMN = "agreement_iou_"
"""What the columns of single classes begin with; the report shows the first `MAX_CLASSES_SHOWN`."""

MAX_CLASSES_SHOWN = 40


def summarize(segmentation: Segmentation, num_frames: int, seconds: float) -> dict[str, Any]:
    """Return what happened up to the last frame: builtins.

    Keyframes are counted by reason. Times are in seconds, those of single frames in milliseconds; scores are 0 ... 1.
    """
    watch, video, motion = segmentation.watch, segmentation.front_end.video, segmentation.motion
    hr, lr = segmentation.hr, segmentation.lr
    network = sum(watch.seconds[stage] for stage in NETWORK_STAGES)
    summary: dict[str, Any] = {
        "frames": num_frames,
        "seconds": round(seconds, 3),
        "frames_per_second": round(num_frames / seconds, 3) if seconds else None,
        "backbone": hr.spec.backbone,
        "mode": segmentation.mode,
        "scale_percent": (lr or hr).spec.scale_percent,
        "keyframes": None if motion is None else dict(segmentation.keyframes),
        "motion": None if motion is None else asdict(motion),
        "motion_of_training": None if lr is None else asdict(lr.motion),
        "network_ms_per_frame": round(1000 * network / num_frames, 3) if num_frames else None,
        "stage_seconds": {stage: round(watch.seconds[stage], 3) for stage in STAGES if watch.runs[stage]},
    }
    if video is not None:
        damage = video.damage
        summary |= {
            "display": str(segmentation.front_end.display),
            "frames_deinterlaced": video.num_deinterlaced,
            "reencoded_because": video.reencoded_because,
            "frames_lost": damage.num_lost,
            "frames_damaged": damage.num_damaged,
            "frames_cut_by_edit_list": damage.num_cut,
            "damaged_places": damage.num_places,
            "damage": damage.messages,
            "ended_early": damage.ended_early,
        }
    if segmentation.agreement is not None and num_frames:
        hr_seconds = watch.seconds["compare"] / watch.runs["compare"]
        scores = segmentation.agreement.scores()
        summary["compared_with_hr"] = {
            "same_pixels": round(segmentation.agreement.same_pixels(), 6),
            "scores": scores.pop("all"),
            "scores_by_distance": scores,
            "hr_ms_per_frame": round(1000 * hr_seconds, 3),
            f"{segmentation.mode}_ms_per_frame": round(1000 * network / num_frames, 3),
            f"{segmentation.mode}_to_hr": round(network / num_frames / hr_seconds, 4),
        }
    return summary


def describe(summary: Mapping[str, Any]) -> str:
    """Put what `summarize` returned into words and tables, on several lines."""
    lines = [f"{summary['frames']} frames in {summary['seconds']:.1f} s: {summary['frames_per_second']} frames/s"]
    if summary["keyframes"] is not None:
        reasons = ", ".join(f"{number} {reason}" for reason, number in summary["keyframes"].items())
        lines.append(f"keyframes: {sum(summary['keyframes'].values())} ({reasons})")
    if summary.get("display"):
        lines.append(f"frames are shown {summary['display']}")
    if summary.get("frames_deinterlaced"):
        lines.append(f"{summary['frames_deinterlaced']} interlaced frames were deinterlaced")
    if summary.get("reencoded_because"):
        lines.append(f"motion: from encoding again on the fly ({summary['reencoded_because']})")
    elif summary["keyframes"] is not None:
        lines.append("motion: the stream's own")
    if summary["motion"] is not None:
        rules, trained = (MotionRules(**(summary[name] or {})) for name in ("motion", "motion_of_training"))
        difference = rules.difference(trained) if summary["motion_of_training"] else ""
        lines.append(f"motion is made {rules}{f'; not as in training: {difference}' if difference else ''}")
    if summary.get("damaged_places") or summary.get("ended_early"):
        lost, damaged, places = (summary[name] for name in ("frames_lost", "frames_damaged", "damaged_places"))
        early = f"; nothing could be read after them: {summary['ended_early']}" if summary["ended_early"] else ""
        lines.append(f"damage at {places} places: {lost} frames lost, {damaged} marked as damaged{early}")
    total = summary["seconds"] or 1.0
    rows = [[stage, f"{spent:.2f}", f"{100 * spent / total:.1f}"] for stage, spent in summary["stage_seconds"].items()]
    lines.append(tabulate(rows, ["stage", "seconds", "% of time"], colalign=("left", "right", "right")))
    lines.append("decode, motion and convert can run beside the networks, so shares may add up to more than 100 %.")
    if compared := summary.get("compared_with_hr"):
        lines += ["", _describe_comparison(summary, compared)]
    return "\n".join(lines)


def _describe_comparison(summary: Mapping[str, Any], compared: Mapping[str, Any]) -> str:
    mode = summary["mode"]
    name = "propagation alone" if mode == "warp" else f"AR {summary['scale_percent'] / 100:.2g}x"
    scores = compared["scores"]
    columns = [name for name, score in scores.items() if isinstance(score, float) and not name.startswith(CLASS_COLUMN)]
    classes = [name for name, score in scores.items() if isinstance(score, float) and name.startswith(CLASS_COLUMN)]
    ratio, hr_ms, ms = (compared[key] for key in (f"{mode}_to_hr", "hr_ms_per_frame", f"{mode}_ms_per_frame"))
    networks = [
        ["HR on every frame", f"{hr_ms:.1f}", "100"],
        [name, f"{ms:.1f}", f"{100 * ratio:.1f}"],
    ]
    by_distance = [
        [distance, *(_percent(row[name]) for name in columns)]
        for distance, row in (compared["scores_by_distance"] | {"all": scores}).items()
    ]
    by_class = [[name.removeprefix(CLASS_COLUMN), _percent(scores[name])] for name in classes[:MAX_CLASSES_SHOWN]]
    return "\n\n".join(
        [
            tabulate(networks, ["networks", "ms/frame", "% of HR's time"], disable_numparse=True),
            f"{100 * compared['same_pixels']:.2f} % of all pixels have the same class in both. Agreement with HR in %:",
            tabulate(by_distance, ["distance", *columns], disable_numparse=True),
            tabulate(by_class, ["class", "agreement"], disable_numparse=True),
        ]
    )


def _percent(score: float | None) -> str:
    return "" if score is None else f"{100 * score:.2f}"
