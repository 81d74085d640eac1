"""Trainings of the tiny network on the tiny data set, on one processor."""

import torch

from arseg.train.fit import Machine
from arseg.train.phase1 import train_phase1
from arseg.train.phase2 import train_phase2


def machine_of(folder, save_minutes=5.0, devices=1):
    return Machine((torch.device("cpu"),) * devices, folder / "resume", save_minutes)


def common(manifest, folder):
    return {
        **{"manifest": manifest, "seed": 3, "machine": machine_of(folder), "workers": 0},
        **{"output": folder / "weights.pt", "history": folder / "history.csv"},
    }


def phase1(manifest, folder, config, **changes):
    splits = {"train_split": "train", "val_split": "val", "backbone": "tiny", "scale_percent": 100}
    return train_phase1(config=config, **(common(manifest, folder) | splits | changes))


def phase2(manifest, hr, folder, config, **changes):
    return train_phase2(config=config, **(common(manifest, folder) | {"hr": hr, "scale_percent": 50} | changes))
