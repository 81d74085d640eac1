# CamVid: what one downloads, or has, to decoded frames and index labels.
# Outputs: resources/<dataset>/{download,frames,labels}/, resources/<dataset>/verified.json


rule download_camvid:
    input:
        # Another mirror in the sheet is no reason to fetch again what is there.
        sheet=ancient(sources.ask("files_sheet")),
    output:
        "resources/{dataset}/download/{file}",
    log:
        f"{experiment.logs}/download_camvid/{{dataset}}/{{file}}.log",
    benchmark:
        f"{experiment.benchmarks}/download_camvid/{{dataset}}/{{file}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("camvid"),
        file="[A-Za-z0-9_.-]+",
    retries: 2
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["download"],
    shell:
        "arseg download {wildcards.file:q}"
        " --sheet {input.sheet:q}"
        " --output {output:q}"
        " > {log:q} 2>&1"


rule decode_camvid:
    input:
        sources.ask("video"),
    output:
        directory("resources/{dataset}/frames/{sequence}"),
    log:
        f"{experiment.logs}/decode_camvid/{{dataset}}/{{sequence}}.log",
    benchmark:
        f"{experiment.benchmarks}/decode_camvid/{{dataset}}/{{sequence}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("camvid"),
        sequence="[A-Za-z0-9]+",
    conda:
        "../../envs/arseg.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        stage=STAGES["camvid"],
        ffmpeg=jobs.ffmpeg,
    shell:
        "arseg camvid frames {input:q}"
        " --sequence {wildcards.sequence}"
        " --threads {threads}"
        " {params.ffmpeg:q}"
        " --output {output:q}"
        " > {log:q} 2>&1"


rule index_camvid_labels:
    input:
        sources.ask("annotated_labels"),
    output:
        directory("resources/{dataset}/labels"),
    log:
        f"{experiment.logs}/index_camvid_labels/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/index_camvid_labels/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("camvid"),
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["camvid"],
        files=sources.digest,
    shell:
        "arseg camvid labels {input:q} --output {output:q} > {log:q} 2>&1"


rule verify_camvid:
    input:
        frames=sources.ask("decoded_frames"),
        labels=rules.index_camvid_labels.output,
        stills=sources.ask("annotated_stills"),
        sequences=sources.ask("sequences_sheet"),
    output:
        "resources/{dataset}/verified.json",
    log:
        f"{experiment.logs}/verify_camvid/{{dataset}}.log",
    benchmark:
        f"{experiment.benchmarks}/verify_camvid/{{dataset}}.tsv"
    wildcard_constraints:
        dataset=experiment.datasets_of("camvid"),
    conda:
        "../../envs/arseg.yaml"
    resources:
        mem_mb=1000,
        runtime=15,
    params:
        stage=STAGES["camvid"],
        files=sources.digest,
    shell:
        "arseg camvid verify"
        " --frames resources/{wildcards.dataset}/frames"
        " --stills {input.stills:q}"
        " --labels {input.labels:q}"
        " --sequences {input.sequences:q}"
        " --output {output:q}"
        " > {log:q} 2>&1"
