"""The wildcards of rules, for functions that take them from Snakemake."""

from typing import Protocol


class Wildcards(Protocol):
    """The wildcards of a job; each rule has some of them."""

    dataset: str
    split: str
    encoding: str
    backbone: str
    mode: str
    scale: str
    seed: str
    sequence: str
