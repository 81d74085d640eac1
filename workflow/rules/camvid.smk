# CamVid: what one downloads, or has, to decoded frames and index labels.
# Outputs: resources/<dataset>/{download,frames,labels}/, resources/<dataset>/verified.json


rule download_camvid:
    input:
        # Another mirror in the sheet is no reason to fetch again what is there.
        sheet=ancient(lambda wildcards: source_path(wildcards.dataset, "files")),
    output:
        "resources/{dataset}/download/{file}",
    log:
        f"{LOGS}/download_camvid/{{dataset}}/{{file}}.log",
    benchmark:
        f"{BENCHMARKS}/download_camvid/{{dataset}}/{{file}}.tsv"
    wildcard_constraints:
        dataset=datasets_of("camvid"),
        file="[A-Za-z0-9_.-]+",
    retries: 2
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["download"],
    shell:
        "arseg download {wildcards.file:q} --sheet {input.sheet:q} --output {output:q} > {log:q} 2>&1"


rule decode_camvid:
    input:
        camvid_video,
    output:
        directory("resources/{dataset}/frames/{sequence}"),
    log:
        f"{LOGS}/decode_camvid/{{dataset}}/{{sequence}}.log",
    benchmark:
        f"{BENCHMARKS}/decode_camvid/{{dataset}}/{{sequence}}.tsv"
    wildcard_constraints:
        dataset=datasets_of("camvid"),
        sequence="[A-Za-z0-9]+",
    conda:
        "../../envs/arseg.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        stage=STAGES["camvid"],
        flags=ffmpeg_flags,
    shell:
        "arseg camvid frames {input:q} --sequence {wildcards.sequence} --threads {threads} {params.flags}"
        " --output {output:q} > {log:q} 2>&1"


rule index_camvid_labels:
    input:
        camvid_pictures("labels"),
    output:
        directory("resources/{dataset}/labels"),
    log:
        f"{LOGS}/index_camvid_labels/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/index_camvid_labels/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=datasets_of("camvid"),
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["camvid"],
        files=files_digest,
    shell:
        "arseg camvid labels {input:q} --output {output:q} > {log:q} 2>&1"


rule verify_camvid:
    input:
        frames=camvid_frames,
        labels=rules.index_camvid_labels.output,
        stills=camvid_pictures("stills"),
        sequences=lambda wildcards: source_path(wildcards.dataset, "sequences"),
    output:
        "resources/{dataset}/verified.json",
    log:
        f"{LOGS}/verify_camvid/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/verify_camvid/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=datasets_of("camvid"),
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["camvid"],
        files=files_digest,
    shell:
        "arseg camvid verify --frames resources/{wildcards.dataset}/frames --stills {input.stills:q} --labels {input.labels:q}"
        " --sequences {input.sequences:q} --output {output:q} > {log:q} 2>&1"
