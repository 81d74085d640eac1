# The program that reads motion from HEVC, compiled once. Output: a record of what it is and what it was made from; the
# program lies in the user's cache, and `arseg clips` compiles it again should it have gone.


rule build_native_reader:
    output:
        "resources/native/hevc-motion.json",
    log:
        f"{LOGS}/build_native_reader.log",
    benchmark:
        f"{BENCHMARKS}/build_native_reader.tsv"
    localrule: True
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["native"],
        flags=lambda wildcards: as_flags(
            {"source": expanded(config["native_source"], "native_source")}
            if config["native_source"]
            else {}
        ),
    shell:
        "arseg native build {params.flags} --record {output:q} > {log:q} 2>&1"
