# AR-Seg from data set to tables and figures. Plain `snakemake --cores N` runs config/config.yaml, the paper;
# `snakemake --cores N --configfile config/demo.yaml` runs the demo.
from snakemake.utils import min_version

min_version("9.20")


# A configuration is one whole file. Snakemake would merge --configfile *into* a default one, and the demo would
# inherit the paper's data sets.
if not workflow.overwrite_configfiles:

    configfile: "config/config.yaml"


report: "workflow/report/workflow.rst"


# One network at a time on the GPUs of a workstation, no such limit across the nodes of a cluster.
resource_scopes:
    gpu="local",


include: "workflow/rules/experiment.smk"


for rule_file in rule_files():

    include: rule_file


include: "workflow/rules/data.smk"
include: "workflow/rules/codec.smk"
include: "workflow/rules/clips.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/segment.smk"


settle_gpus(workflow, experiment.config.device, profile_named(sys.argv))


localrules:
    all,
    clips,
    networks,
    segment,


rule all:
    default_target: True
    input:
        experiment.tables(),
        experiment.comparisons(),
        experiment.figures(),
        videos.targets(),


rule clips:
    input:
        experiment.clips(),


rule networks:
    input:
        experiment.networks(),


rule segment:
    input:
        videos.targets(),
