# Confusion matrices to tables, result files under the authors' names, and figures.
# Outputs: results/<name>/miou.csv, miou.md, published/, figures/; where runs were published also comparison.{csv,md}


localrules:
    tabulate,
    compare_with_published,
    plot_curves,


rule tabulate:
    input:
        evaluations(),
    output:
        csv=report(
            f"{RESULTS}/miou.csv",
            category="Tables",
            caption="../report/miou_table.rst",
            labels={"table": "mIoU by distance"},
        ),
        summary=f"{RESULTS}/miou.md",
        published=directory(f"{RESULTS}/published"),
    log:
        f"{LOGS}/tabulate.log",
    benchmark:
        f"{BENCHMARKS}/tabulate.tsv"
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["tables"],
    shell:
        "arseg tabulate {input:q} --csv {output.csv:q} --summary {output.summary:q}"
        " --published {output.published:q} > {log:q} 2>&1"


rule compare_with_published:
    input:
        table=rules.tabulate.output.csv,
        published=PUBLISHED,
    output:
        csv=report(
            f"{RESULTS}/comparison.csv",
            category="Tables",
            caption="../report/comparison.rst",
            labels={"table": "beside the published values"},
        ),
        summary=f"{RESULTS}/comparison.md",
    log:
        f"{LOGS}/compare_with_published.log",
    benchmark:
        f"{BENCHMARKS}/compare_with_published.tsv"
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["tables"],
    shell:
        "arseg compare {input.table:q} --published {input.published:q} --csv {output.csv:q}"
        " --summary {output.summary:q} > {log:q} 2>&1"


rule plot_curves:
    input:
        table=rules.tabulate.output.csv,
        published=PUBLISHED if published_runs() else [],
    output:
        distance=report(
            f"{RESULTS}/figures/miou_by_distance.png",
            category="Figures",
            caption="../report/miou_by_distance.rst",
            labels={"figure": "mIoU by reference distance"},
        ),
        cost=report(
            f"{RESULTS}/figures/miou_by_cost.png",
            category="Figures",
            caption="../report/miou_by_cost.rst",
            labels={"figure": "mIoU by cost"},
        ),
    log:
        f"{LOGS}/plot_curves.log",
    benchmark:
        f"{BENCHMARKS}/plot_curves.tsv"
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["plots"],
        flags=lambda wildcards, input: as_flags(
            {"published": input.published} if input.published else {}
        ),
    shell:
        "arseg plot curves {input.table:q} {params.flags} --by-distance {output.distance:q} --by-cost {output.cost:q}"
        " > {log:q} 2>&1"


rule plot_panel:
    input:
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
        hr=hr_weights,
        lr=lr_weights,
        ar=ar_weights,
        stores=outputs_with(last_distance_stores),
    output:
        report(
            f"{RESULTS}/figures/panel/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.png",
            category="Figures",
            caption="../report/panel.rst",
            labels={
                "figure": "examples, {dataset}, {encoding}, {backbone}, scale {scale} %"
            },
        ),
    log:
        f"{LOGS}/plot_panel/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.log",
    benchmark:
        f"{BENCHMARKS}/plot_panel/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    threads: network_threads(4)
    resources:
        gpu=NEEDS_GPU,
        mem_mb=8000,
        runtime=60,
    params:
        stage=STAGES["plots"],
        stores=last_distance_stores,
        device=config["device"],
    shell:
        "arseg plot panel --manifest {input.manifest:q} --stores {params.stores:q} --hr {input.hr:q} --lr {input.lr:q}"
        " --ar {input.ar:q} --device {params.device} --output {output:q} > {log:q} 2>&1"
