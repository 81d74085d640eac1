# Data sets to manifests. Inputs: what config names under datasets.<name>.source. Outputs: results/<name>/manifest/.
# Everything after this file knows a data set by its manifest alone.


rule synthesize:
    output:
        directory(f"{experiment.results}/frames/{{dataset}}"),
    log:
        f"{experiment.logs}/synthesize/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/synthesize/{{dataset}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    threads: 4
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["synthesize"],
        scenes=sources.scenes,
    shell:
        "arseg synthesize"
        " --seed {params.scenes[seed]}"
        " --num-train-sequences {params.scenes[num_train_sequences]}"
        " --num-val-sequences {params.scenes[num_val_sequences]}"
        " --num-test-sequences {params.scenes[num_test_sequences]}"
        " --frames-per-sequence {params.scenes[frames_per_sequence]}"
        " --annotate-every {params.scenes[annotate_every]}"
        " --width {params.scenes[width]}"
        " --height {params.scenes[height]}"
        " --gop {params.scenes[gop]}"
        " --workers {threads}"
        " --output {output:q}"
        " > {log:q} 2>&1"


rule write_manifest:
    input:
        unpack(sources.manifest_inputs),
    output:
        manifest=f"{experiment.results}/manifest/{{dataset}}.csv",
        classes=f"{experiment.results}/manifest/{{dataset}}.classes.csv",
    log:
        f"{experiment.logs}/write_manifest/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/write_manifest/{{dataset}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["manifest"],
        files=sources.digest,
        kind_and_source=sources.manifest_words,
    shell:
        "arseg manifest {params.kind_and_source:q}"
        " --dataset {wildcards.dataset}"
        " --output {output.manifest:q}"
        " > {log:q} 2>&1"
