# Synthetic street scenes, written as anyone's frames and sheets. Outputs: results/<name>/frames/.


rule synthesize:
    output:
        directory(f"{experiment.results}/frames/{{dataset}}"),
    log:
        f"{experiment.logs}/synthesize/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/synthesize/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("synthetic"),
    conda:
        "../../envs/arseg.yaml"
    threads: 4
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["synthesize"],
        scenes=sources.ask("scenes"),
    shell:
        "arseg synthesize"
        " --seed {params.scenes[seed]}"
        " --num-train-sequences {params.scenes[num_train_sequences]}"
        " --num-val-sequences {params.scenes[num_val_sequences]}"
        " --num-test-sequences {params.scenes[num_test_sequences]}"
        " --frames-per-sequence {params.scenes[frames_per_sequence]}"
        " --annotate-every {params.scenes[annotate_every]}"
        " --speed {params.scenes[speed]}"
        " --width {params.scenes[width]}"
        " --height {params.scenes[height]}"
        " --gop {params.scenes[gop]}"
        " --workers {threads}"
        " --output {output:q}"
        " > {log:q} 2>&1"
