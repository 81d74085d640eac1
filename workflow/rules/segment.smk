# Many videos to labels, overlays and a table, by finished networks.
# Outputs: results/<name>/segment/<video>/, results/<name>/segment.{csv,md}, and segmented.txt if no video is broken.
#
# A folder appears whole, or not at all. That of a broken video says what is wrong with it, so that no job fails and no
# other video waits; at the end, check_videos fails and names them.


rule segment_part:
    input:
        unpack(videos.inputs),
    output:
        temp(
            directory(
                f"{experiment.results}/segment-parts/{{video}}/{{part}}of{{parts}}"
            )
        ),
    log:
        f"{experiment.logs}/segment_part/{{video}}/{{part}}of{{parts}}.log",
    benchmark:
        f"{experiment.benchmarks}/segment_part/videos/{{video}}/{{part}}of{{parts}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["segment"],
        words=videos.words,
    shell:
        "arseg videos segment {input.video:q}"
        " --folder {output:q}"
        " {params.words:q}"
        " --part {wildcards.part}/{wildcards.parts}"
        " > {log:q} 2>&1"


rule segment_video:
    input:
        unpack(videos.inputs),
        parts=videos.parts,
    output:
        directory(f"{experiment.results}/segment/{{video}}"),
    log:
        f"{experiment.logs}/segment_video/{{video}}.log",
    benchmark:
        f"{experiment.benchmarks}/segment_video/videos/{{video}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    threads: 2
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=240,
    params:
        stage=STAGES["segment"],
        words=videos.words,
        join=videos.join_words,
    shell:
        "arseg videos segment {input.video:q}"
        " --folder {output:q}"
        " {params.words:q}"
        " {params.join:q}"
        " > {log:q} 2>&1"


rule tabulate_videos:
    input:
        videos.folders,
    output:
        csv=f"{experiment.results}/segment.csv",
        page=f"{experiment.results}/segment.md",
    log:
        f"{experiment.logs}/tabulate_videos.log",
    benchmark:
        f"{experiment.benchmarks}/tabulate_videos.tsv"
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["segment"],
        videos=videos.lines,
        folder=subpath(output.csv, strip_suffix=".csv"),
    shell:
        "arseg videos tabulate {params.videos:q}"
        " --folder {params.folder:q}"
        " --csv {output.csv:q}"
        " --summary {output.page:q}"
        " > {log:q} 2>&1"


rule check_videos:
    input:
        rules.tabulate_videos.output.csv,
    output:
        f"{experiment.results}/segmented.txt",
    log:
        f"{experiment.logs}/check_videos.log",
    benchmark:
        f"{experiment.benchmarks}/check_videos.tsv"
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["segment"],
    shell:
        "arseg videos check {input:q} --output {output:q} > {log:q} 2>&1"
