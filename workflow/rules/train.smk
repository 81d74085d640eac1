# Manifest (and, in phase 2, clip stores) to networks. Outputs: results/<name>/phase1/ and results/<name>/phase2/.
# The folder <seed>/resume beside the weights is on purpose no output: Snakemake deletes outputs before it tries again,
# and a training that was stopped must find its state. How many devices train, and how many processes load samples, are
# resources and no parameters: a profile chooses them, and the network stays the same but for rounding. `exec` puts the
# training in the place of the shell, which would not pass on the signal that asks it to save its state.


rule fetch_imagenet_weights:
    output:
        "resources/imagenet/resnet18.pth",
    log:
        f"{LOGS}/fetch_imagenet_weights.log",
    benchmark:
        f"{BENCHMARKS}/fetch_imagenet_weights.tsv"
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["download"],
    shell:
        "arseg imagenet --output {output:q} > {log:q} 2>&1"


rule train_phase1:
    input:
        initial_weights=initial_weights(1),
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
    output:
        weights=f"{RESULTS}/phase1/{{dataset}}/{{backbone}}/scale{{scale}}/seed{{seed}}/weights.pt",
        history=f"{RESULTS}/phase1/{{dataset}}/{{backbone}}/scale{{scale}}/seed{{seed}}/history.csv",
    log:
        f"{LOGS}/train_phase1/{{dataset}}/{{backbone}}/scale{{scale}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/train_phase1/{{dataset}}/{{backbone}}/scale{{scale}}/seed{{seed}}.tsv"
    retries: config["restarts"]
    conda:
        "../../envs/arseg.yaml"
    threads: network_threads(8)
    resources:
        gpu=NEEDS_GPU,
        devices=1,
        workers=loader_workers,
        mem_mb=16000,
        runtime=1440,
    params:
        stage=STAGES["phase1"],
        files=files_digest,
        resume=subpath(output.weights, parent=True),
        train_split=split_of("phase1_train"),
        val_split=split_of("phase1_val"),
        flags=training_flags(1),
        device=config["device"],
    shell:
        "exec arseg train phase1 --manifest {input.manifest:q} --train-split {params.train_split} --val-split {params.val_split}"
        " --backbone {wildcards.backbone} --scale-percent {wildcards.scale} --seed {wildcards.seed} {params.flags}"
        " --device {params.device} --devices {resources.devices} --workers {resources.workers} --resume {params.resume:q}/resume"
        " --output {output.weights:q} --history {output.history:q} > {log:q} 2>&1"


rule train_phase2:
    input:
        initial_weights=initial_weights(2),
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
        hr=hr_weights,
        train=outputs_with(training_stores("phase2_train")),
        val=outputs_with(training_stores("phase2_val")),
    output:
        weights=f"{RESULTS}/phase2/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}/weights.pt",
        history=f"{RESULTS}/phase2/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}/history.csv",
    log:
        f"{LOGS}/train_phase2/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/train_phase2/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.tsv"
    retries: config["restarts"]
    conda:
        "../../envs/arseg.yaml"
    threads: network_threads(8)
    resources:
        gpu=NEEDS_GPU,
        devices=1,
        workers=loader_workers,
        mem_mb=16000,
        runtime=1440,
    params:
        stage=STAGES["phase2"],
        resume=subpath(output.weights, parent=True),
        train=training_stores("phase2_train"),
        val=training_stores("phase2_val"),
        flags=training_flags(2),
        device=config["device"],
    shell:
        "exec arseg train phase2 --manifest {input.manifest:q} --hr {input.hr:q} --train-stores {params.train:q}"
        " --val-stores {params.val:q} --scale-percent {wildcards.scale} --seed {wildcards.seed} {params.flags}"
        " --device {params.device} --devices {resources.devices} --workers {resources.workers} --resume {params.resume:q}/resume"
        " --output {output.weights:q} --history {output.history:q} > {log:q} 2>&1"
