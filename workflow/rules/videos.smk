# Videos without labels to sampled frames, which the finished HR network of the data set labels.
# Outputs: results/<name>/{frames,labels}/<dataset>/


rule sample_videos:
    input:
        sources.ask("video_files"),
    output:
        directory(f"{experiment.results}/frames/{{dataset}}"),
    log:
        f"{experiment.logs}/sample_videos/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/sample_videos/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("videos"),
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=2000,
        runtime=240,
    params:
        stage=STAGES["videos"],
        sampling=sources.ask("sampling"),
    shell:
        "arseg videos sample {params.sampling[videos]:q}"
        " --samples {params.sampling[samples]}"
        " --gop {params.sampling[gop]}"
        " --tail {params.sampling[tail]}"
        " {params.sampling[size]}"
        " --output {output:q}"
        " > {log:q} 2>&1"


rule label_videos:
    input:
        frames=rules.sample_videos.output,
        hr=jobs.teacher,
        network_files=jobs.network_files,
    output:
        directory(f"{experiment.results}/labels/{{dataset}}"),
    log:
        f"{experiment.logs}/label_videos/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/label_videos/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("videos"),
    conda:
        "../../envs/arseg.yaml"
    threads: 4
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["videos"],
        confidence=sources.ask("least_confidence"),
        device=experiment.config.device,
    shell:
        "arseg videos label {input.frames:q}"
        " --checkpoint {input.hr:q}"
        " --confidence {params.confidence}"
        " --device {params.device}"
        " --output {output:q}"
        " > {log:q} 2>&1"
