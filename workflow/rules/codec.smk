# The program that reads motion from HEVC, compiled once. Output: a record of what it is and what it was made from; the
# program lies in the user's cache, and `arseg clips` compiles it again should it have gone.


rule build_native_reader:
    output:
        NATIVE_READER,
    log:
        f"{experiment.logs}/build_native_reader.log",
    benchmark:
        f"{experiment.benchmarks}/build_native_reader.tsv"
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["native"],
        source=jobs.native_source,
    shell:
        "arseg native build"
        " {params.source:q}"
        " --record {output:q}"
        " > {log:q} 2>&1"
