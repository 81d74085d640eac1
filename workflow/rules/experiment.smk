# What to run, as files, commands and options. The Python is in arseg/workflow/, where tests and mypy reach it.
import sys

from arseg.stages import STAGES
from arseg.workflow.experiment import (
    ENCODER_WEIGHTS,
    IMAGENET_WEIGHTS,
    NATIVE_READER,
    read_experiment,
)
from arseg.workflow.gpus import profile_named, settle_gpus
from arseg.workflow.jobs import Jobs, loader_workers
from arseg.workflow.sources import Sources, rule_files
from arseg.workflow.videos import Videos

experiment = read_experiment(config, workflow.configfiles, workflow.basedir)
jobs = Jobs(experiment)
videos = Videos(experiment)
sources = Sources(experiment, watches=workflow.is_main_process)
config = experiment.settings


wildcard_constraints:
    **experiment.constraints(),
