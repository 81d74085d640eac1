"""A version for each stage of the pipeline.

Snakemake sees inputs, parameters and commands, but not this package. Each rule therefore carries the version of
its stage as a parameter: bump it when the stage's *output* changes, and everything that depends on it is redone;
leave it alone after a pure refactoring, and nothing is.
"""

STAGES: dict[str, int] = {
    "synthesize": 2,
    "download": 1,
    "camvid": 1,
    "cityscapes": 1,
    "labels": 1,
    "manifest": 2,
    "native": 1,
    "videos": 3,
    "clips": 2,
    "phase1": 3,
    "phase2": 3,
    "evaluate": 3,
    "segment": 1,
    "tables": 3,
    "plots": 1,
}
