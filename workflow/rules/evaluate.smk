# Clip stores and networks to confusion matrices, one file per mode and scale, all distances in it.
# Outputs: results/<name>/evaluation/<dataset>/<encoding>/<backbone>/<mode>/scale<percent>/seed<seed>.npz


rule evaluate:
    input:
        unpack(evaluated_weights),
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
        stores=outputs_with(test_stores),
    output:
        f"{RESULTS}/evaluation/{{dataset}}/{{encoding}}/{{backbone}}/{{mode}}/scale{{scale}}/seed{{seed}}.npz",
    log:
        f"{LOGS}/evaluate/{{dataset}}/{{encoding}}/{{backbone}}/{{mode}}/scale{{scale}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{dataset}}/{{encoding}}/{{backbone}}/{{mode}}/scale{{scale}}/seed{{seed}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    threads: network_threads(4)
    resources:
        gpu=NEEDS_GPU,
        workers=loader_workers,
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["evaluate"],
        networks=network_flags,
        stores=test_stores,
        absent="nan" if config["original_quirks"] else "skip",
        device=config["device"],
    shell:
        "arseg evaluate --mode {wildcards.mode} --scale-percent {wildcards.scale} --seed {wildcards.seed}"
        " --manifest {input.manifest:q} --stores {params.stores:q} {params.networks} --absent {params.absent}"
        " --device {params.device} --workers {resources.workers} --output {output:q} > {log:q} 2>&1"
