# Manifest to clip stores: frames are encoded, decoded again, and the codec's motion is composed to the keyframe.
# Outputs: results/<name>/clips/<dataset>/<encoding>/{all-distances,last-distance}/<split>/shard<k>/d<distance>.h5
#
# Clips that start at the same frame are one clip, whatever distance they serve. A job therefore makes all distances
# of its shard, and declares their folder. So it is for trainings that learn from all distances, too.
#
# No byte depends on the threads. The second one decodes and composes a clip while the first encodes the next. Clips come
# before trainings that could begin, too: on two cores they would otherwise wait until both trainings have ended.


rule make_test_clips:
    input:
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
        reader=ancient(jobs.native_reader),
    output:
        directory(
            f"{experiment.results}/clips/{{dataset}}/{{encoding}}/all-distances/{{split}}/shard{{shard}}"
        ),
    log:
        f"{experiment.logs}/make_test_clips/{{dataset}}/{{encoding}}/{{split}}/shard{{shard}}.log",
    benchmark:
        f"{experiment.benchmarks}/make_test_clips/{{dataset}}/{{encoding}}/{{split}}/shard{{shard}}.tsv"
    priority: 1
    conda:
        "../../envs/arseg.yaml"
    threads: 2
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        stage=STAGES["clips"],
        files=sources.digest,
        num_shards=jobs.num_shards,
        encoding=jobs.encoding,
        ffmpeg=jobs.ffmpeg,
    shell:
        "arseg clips"
        " --manifest {input.manifest:q}"
        " --split {wildcards.split}"
        " --all-distances"
        " --codec {params.encoding[codec]}"
        " --rate {params.encoding[rate]}"
        " --gop {params.encoding[gop]}"
        " --fps {params.encoding[fps]}"
        " --preset {params.encoding[preset]}"
        " {params.encoding[references]}"
        " {params.encoding[parameters]:q}"
        " --tail {params.encoding[tail]}"
        " {params.encoding[subpixel]}"
        " {params.ffmpeg:q}"
        " --shard {wildcards.shard}"
        " --num-shards {params.num_shards}"
        " --threads {threads}"
        " --output {output:q}"
        " > {log:q} 2>&1"


rule make_training_clips:
    input:
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
        reader=ancient(jobs.native_reader),
    output:
        f"{experiment.results}/clips/{{dataset}}/{{encoding}}/last-distance/{{split}}/shard{{shard}}/d{{distance}}.h5",
    log:
        f"{experiment.logs}/make_training_clips/{{dataset}}/{{encoding}}/{{split}}/shard{{shard}}-d{{distance}}.log",
    benchmark:
        f"{experiment.benchmarks}/make_training_clips/{{dataset}}/{{encoding}}/{{split}}/shard{{shard}}-d{{distance}}.tsv"
    priority: 1
    conda:
        "../../envs/arseg.yaml"
    threads: 2
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        stage=STAGES["clips"],
        files=sources.digest,
        folder=subpath(output[0], parent=True),
        num_shards=jobs.num_shards,
        encoding=jobs.encoding,
        ffmpeg=jobs.ffmpeg,
    shell:
        "arseg clips"
        " --manifest {input.manifest:q}"
        " --split {wildcards.split}"
        " --distances {wildcards.distance}"
        " --codec {params.encoding[codec]}"
        " --rate {params.encoding[rate]}"
        " --gop {params.encoding[gop]}"
        " --fps {params.encoding[fps]}"
        " --preset {params.encoding[preset]}"
        " {params.encoding[references]}"
        " {params.encoding[parameters]:q}"
        " --tail {params.encoding[tail]}"
        " {params.encoding[subpixel]}"
        " {params.ffmpeg:q}"
        " --shard {wildcards.shard}"
        " --num-shards {params.num_shards}"
        " --threads {threads}"
        " --output {params.folder:q}"
        " > {log:q} 2>&1"
