# Confusion matrices to tables, published result files, and figures.
# Outputs: results/<name>/miou.csv, miou.md, published/, figures/; where runs were published also comparison.{csv,md};
# for data sets that HR labelled agreement.csv, agreement.md and figures of their own.


localrules:
    tabulate,
    tabulate_agreement,
    compare_with_published,
    plot_curves,


rule tabulate:
    input:
        experiment.evaluations("miou"),
    output:
        csv=report(
            f"{experiment.results}/miou.csv",
            category="Tables",
            caption="../report/miou_table.rst",
            labels={"table": "mIoU by distance"},
        ),
        summary=f"{experiment.results}/miou.md",
        published=directory(f"{experiment.results}/published"),
    log:
        f"{experiment.logs}/tabulate.log",
    benchmark:
        f"{experiment.benchmarks}/tabulate.tsv"
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["tables"],
    shell:
        "arseg tabulate {input:q}"
        " --csv {output.csv:q}"
        " --summary {output.summary:q}"
        " --published {output.published:q}"
        " > {log:q} 2>&1"


rule tabulate_agreement:
    input:
        experiment.evaluations("agreement"),
    output:
        csv=report(
            f"{experiment.results}/agreement.csv",
            category="Tables",
            caption="../report/agreement_table.rst",
            labels={"table": "agreement with HR by distance"},
        ),
        summary=f"{experiment.results}/agreement.md",
    log:
        f"{experiment.logs}/tabulate_agreement.log",
    benchmark:
        f"{experiment.benchmarks}/tabulate_agreement.tsv"
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["tables"],
    shell:
        "arseg tabulate {input:q}"
        " --csv {output.csv:q}"
        " --summary {output.summary:q}"
        " > {log:q} 2>&1"


rule compare_with_published:
    input:
        table=rules.tabulate.output.csv,
        published=experiment.published,
    output:
        csv=report(
            f"{experiment.results}/comparison.csv",
            category="Tables",
            caption="../report/comparison.rst",
            labels={"table": "beside the published values"},
        ),
        summary=f"{experiment.results}/comparison.md",
    log:
        f"{experiment.logs}/compare_with_published.log",
    benchmark:
        f"{experiment.benchmarks}/compare_with_published.tsv"
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["tables"],
    shell:
        "arseg compare {input.table:q}"
        " --published {input.published:q}"
        " --csv {output.csv:q}"
        " --summary {output.summary:q}"
        " > {log:q} 2>&1"


rule plot_curves:
    input:
        table=jobs.plotted_table,
        published=experiment.published_values(),
    output:
        distance=report(
            f"{experiment.results}/figures/{{curves}}_by_distance.png",
            category="Figures",
            caption="../report/curves_by_distance.rst",
            labels={"figure": "{curves} by reference distance"},
        ),
        cost=report(
            f"{experiment.results}/figures/{{curves}}_by_cost.png",
            category="Figures",
            caption="../report/curves_by_cost.rst",
            labels={"figure": "{curves} by cost"},
        ),
    log:
        f"{experiment.logs}/plot_curves/{{curves}}.log",
    benchmark:
        f"{experiment.benchmarks}/plot_curves/{{curves}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    params:
        stage=STAGES["plots"],
        metric=jobs.plotted_metric,
        published=jobs.published_words,
    shell:
        "arseg plot curves {input.table:q}"
        " --metric {params.metric}"
        " {params.published:q}"
        " --by-distance {output.distance:q}"
        " --by-cost {output.cost:q}"
        " > {log:q} 2>&1"


rule plot_panel:
    input:
        manifest=rules.write_manifest.output.manifest,
        classes=rules.write_manifest.output.classes,
        hr=jobs.hr_weights,
        lr=jobs.lr_weights,
        ar=jobs.ar_weights,
        stores=jobs.clips("test"),
    output:
        report(
            f"{experiment.results}/figures/panel/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.png",
            category="Figures",
            caption="../report/panel.rst",
            labels={
                "figure": "examples, {dataset}, {encoding}, {backbone}, scale {scale} %"
            },
        ),
    log:
        f"{experiment.logs}/plot_panel/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.log",
    benchmark:
        f"{experiment.benchmarks}/plot_panel/{{dataset}}/{{encoding}}/{{backbone}}/scale{{scale}}/seed{{seed}}.tsv"
    conda:
        "../../envs/arseg.yaml"
    threads: jobs.threads(4)
    resources:
        gpu=1,
        mem_mb=8000,
        runtime=60,
    params:
        stage=STAGES["plots"],
        stores=jobs.stores("test"),
        device=experiment.config.device,
    shell:
        "arseg plot panel"
        " --manifest {input.manifest:q}"
        " --stores {params.stores:q}"
        " --hr {input.hr:q}"
        " --lr {input.lr:q}"
        " --ar {input.ar:q}"
        " --device {params.device}"
        " --output {output:q}"
        " > {log:q} 2>&1"
