"""Trainings of the tiny network on the tiny data set, on the CPU."""

from dataclasses import fields

from arseg.train.options import RunOptions
from arseg.train.run import train_phase1, train_phase2

RUN_OPTIONS = {field.name for field in fields(RunOptions)}


def words(manifest, folder, config, changes):
    """Return the arguments of a training that writes into a folder; changes may be of its options, too."""
    options = {"seed": 3, "device": "cpu", "workers": 0} | {n: v for n, v in changes.items() if n in RUN_OPTIONS}
    others = {name: value for name, value in changes.items() if name not in RUN_OPTIONS}
    run = RunOptions(**options)
    return {"manifest": manifest, "output": folder / "weights.pt", "run": run, "config": config, **others}


def phase1(manifest, folder, config, **changes):
    splits = {"train_split": "train", "val_split": "val", "backbone": "tiny", "scale_percent": 100}
    return train_phase1(**splits | words(manifest, folder, config, changes))


def phase2(manifest, hr, folder, config, **changes):
    return train_phase2(**{"hr": hr, "scale_percent": 50} | words(manifest, folder, config, changes))
