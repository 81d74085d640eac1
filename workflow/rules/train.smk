# Manifest (and, in phase 2, clip stores) to networks. Outputs: results/<name>/phase1/ and results/<name>/phase2/.
# The folder <seed>/resume beside the weights is on purpose no output: Snakemake deletes outputs before it tries again,
# and a training that was stopped must find its state. How many devices train, and how many processes load samples, are
# resources and no parameters: a profile chooses them, and the network stays the same but for rounding. `exec` puts the
# training in the place of the shell, which would not pass on the signal that asks it to save its state.


rule fetch_imagenet_weights:
    output:
        IMAGENET_WEIGHTS,
    log:
        f"{experiment.logs}/fetch_imagenet_weights.log",
    benchmark:
        f"{experiment.benchmarks}/fetch_imagenet_weights.tsv"
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["download"],
    shell:
        "arseg imagenet --output {output:q} > {log:q} 2>&1"


rule fetch_encoder_weights:
    output:
        ENCODER_WEIGHTS,
    log:
        f"{experiment.logs}/fetch_encoder_weights/{{backbone}}.log",
    benchmark:
        f"{experiment.benchmarks}/fetch_encoder_weights/{{backbone}}.tsv"
    wildcard_constraints:
        backbone=experiment.foreign_networks,
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["download"],
    shell:
        "arseg imagenet --backbone {wildcards.backbone} --output {output:q} > {log:q} 2>&1"


rule train_phase1:
    input:
        initial_weights=jobs.initial_weights(1),
        network_files=jobs.network_files,
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
    output:
        weights=f"{experiment.results}/phase1/{{dataset}}/{{backbone}}/scale{{scale}}/seed{{seed}}/weights.pt",
        history=f"{experiment.results}/phase1/{{dataset}}/{{backbone}}/scale{{scale}}/seed{{seed}}/history.csv",
    log:
        f"{experiment.logs}/train_phase1/{{dataset}}/{{backbone}}/scale{{scale}}/seed{{seed}}.log",
    benchmark:
        f"{experiment.benchmarks}/train_phase1/{{dataset}}/{{backbone}}/scale{{scale}}/seed{{seed}}.tsv"
    retries: experiment.config.restarts
    conda:
        "../../envs/arseg.yaml"
    threads: jobs.threads(8)
    resources:
        gpu=1,
        devices=1,
        workers=loader_workers,
        mem_mb=16000,
        runtime=1440,
    params:
        stage=STAGES["phase1"],
        files=sources.digest,
        resume=subpath(output.weights, parent=True),
        train_split=jobs.split("phase1_train"),
        val_split=jobs.split("phase1_val"),
        training=jobs.training(1),
        device=experiment.config.device,
    shell:
        "exec arseg train phase1"
        " --manifest {input.manifest:q}"
        " --train-split {params.train_split}"
        " --val-split {params.val_split}"
        " --backbone {wildcards.backbone}"
        " --scale-percent {wildcards.scale}"
        " --seed {wildcards.seed}"
        " --augmentation {params.training[augmentation]}"
        " --crop {params.training[crop]}"
        " --random-scales {params.training[random_scales]}"
        " --jitter {params.training[jitter]}"
        " --normalization {params.training[normalization]}"
        " --optimizer {params.training[optimizer]}"
        " --learning-rate {params.training[learning_rate]}"
        " --schedule {params.training[schedule]}"
        " --epochs {params.training[epochs]}"
        " --batch-size {params.training[batch_size]}"
        " {params.training[class_weights]}"
        " --edge-margin {params.training[edge_margin]}"
        " --validate-every {params.training[validate_every]}"
        " --initial-weights {params.training[initial_weights]:q}"
        " --precision {params.training[precision]}"
        " {params.training[channels_last]}"
        " {params.training[original_quirks]}"
        " --device {params.device}"
        " --devices {resources.devices}"
        " --workers {resources.workers}"
        " --resume {params.resume:q}/resume"
        " --output {output.weights:q}"
        " --history {output.history:q}"
        " > {log:q} 2>&1"


rule train_phase2:
    input:
        initial_weights=jobs.initial_weights(2),
        network_files=jobs.network_files,
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
        hr=jobs.hr_weights,
        train=jobs.clips("phase2_train"),
        val=jobs.clips("phase2_val"),
    output:
        weights=f"{experiment.results}/phase2/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}/weights.pt",
        history=f"{experiment.results}/phase2/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}/history.csv",
    log:
        f"{experiment.logs}/train_phase2/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.log",
    benchmark:
        f"{experiment.benchmarks}/train_phase2/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.tsv"
    retries: experiment.config.restarts
    conda:
        "../../envs/arseg.yaml"
    threads: jobs.threads(8)
    resources:
        gpu=1,
        devices=1,
        workers=loader_workers,
        mem_mb=16000,
        runtime=1440,
    params:
        stage=STAGES["phase2"],
        resume=subpath(output.weights, parent=True),
        train=jobs.stores("phase2_train"),
        val=jobs.stores("phase2_val"),
        training=jobs.training(2),
        device=experiment.config.device,
    shell:
        "exec arseg train phase2"
        " --manifest {input.manifest:q}"
        " --hr {input.hr:q}"
        " --train-stores {params.train:q}"
        " --val-stores {params.val:q}"
        " --scale-percent {wildcards.scale}"
        " --seed {wildcards.seed}"
        " --augmentation {params.training[augmentation]}"
        " --crop {params.training[crop]}"
        " --random-scales {params.training[random_scales]}"
        " --jitter {params.training[jitter]}"
        " --normalization {params.training[normalization]}"
        " --optimizer {params.training[optimizer]}"
        " --learning-rate {params.training[learning_rate]}"
        " --schedule {params.training[schedule]}"
        " --epochs {params.training[epochs]}"
        " --batch-size {params.training[batch_size]}"
        " {params.training[class_weights]}"
        " --edge-margin {params.training[edge_margin]}"
        " --validate-every {params.training[validate_every]}"
        " --initial-weights {params.training[initial_weights]:q}"
        " --start-from {params.training[start_from]}"
        " --fusion {params.training[fusion]}"
        " --distances {params.training[distances]}"
        " --unfused-epochs {params.training[unfused_epochs]}"
        " {params.training[feature_similarity]}"
        " --warp-alignment {params.training[warp_alignment]}"
        " --precision {params.training[precision]}"
        " {params.training[channels_last]}"
        " {params.training[original_quirks]}"
        " --device {params.device}"
        " --devices {resources.devices}"
        " --workers {resources.workers}"
        " --resume {params.resume:q}/resume"
        " --output {output.weights:q}"
        " --history {output.history:q}"
        " > {log:q} 2>&1"
