# Clip stores and networks to confusion matrices, one file per mode and scale, all distances in it.
# Outputs: results/<name>/evaluation/<dataset>/<encoding>/<backbone>/<mode>/scale<percent>/seed<seed>.npz


rule evaluate:
    input:
        unpack(jobs.evaluated_weights),
        network_files=jobs.network_files,
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
        stores=jobs.clips("test", every_distance=True),
    output:
        f"{experiment.results}/evaluation/{{dataset}}/{{encoding}}/{{backbone}}/{{mode}}/scale{{scale}}/seed{{seed}}.npz",
    log:
        f"{experiment.logs}/evaluate/{{dataset}}/{{encoding}}/{{backbone}}/{{mode}}/scale{{scale}}/seed{{seed}}.log",
    benchmark:
        f"{experiment.benchmarks}/evaluate/{{dataset}}/{{encoding}}/{{backbone}}/{{mode}}/scale{{scale}}/seed{{seed}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    threads: jobs.threads(4)
    resources:
        gpu=1,
        workers=loader_workers,
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["evaluate"],
        networks=jobs.evaluated_networks,
        stores=jobs.stores("test", every_distance=True),
        absent="nan" if experiment.config.original_quirks else "skip",
        device=experiment.config.device,
    shell:
        "arseg evaluate"
        " --mode {wildcards.mode}"
        " --scale-percent {wildcards.scale}"
        " --seed {wildcards.seed}"
        " --manifest {input.manifest:q}"
        " --stores {params.stores:q}"
        " {params.networks:q}"
        " --absent {params.absent}"
        " --device {params.device}"
        " --workers {resources.workers}"
        " --output {output:q}"
        " > {log:q} 2>&1"
