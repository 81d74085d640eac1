"""What a configuration multiplies out to: files, commands' options, folders to watch."""

from types import SimpleNamespace

import pytest
import yaml
from snakemake.exceptions import WorkflowError

from arseg.errors import ConfigError
from arseg.workflow.experiment import IMAGENET_WEIGHTS, NATIVE_READER, read_experiment
from arseg.workflow.jobs import Jobs, declared, loader_workers
from arseg.workflow.reading import read_config
from arseg.workflow.schema import config_schema
from arseg.workflow.sources import Sources


@pytest.fixture
def experiment_of(repository):
    """The experiment of one of the shipped configurations with changes to it."""

    def make(name, change=lambda config: None):
        config = yaml.safe_load((repository / "config" / f"{name}.yaml").read_text())
        change(config)
        return read_experiment(config, ["x.yaml"], repository)

    return make


def setting(**values):
    """Change keys of a configuration's only data set."""

    def change(config):
        (dataset,) = config["datasets"].values()
        dataset.update(values)

    return change


def wildcards(**names):
    return SimpleNamespace(**{"dataset": "camvid", "encoding": "hevc-3000k-gop12-medium", "seed": "233"} | names)


def top(**values):
    """Change keys of the configuration itself."""
    return lambda config: config.update(values)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (top(scale=[0.5]), "scale: unknown key; did you mean 'scales'?"),
        (top(scales=[0.555]), "scales[0]: 0.555 is not a whole percentage"),
        (top(panel_scale=0.4), "panel_scale: 0.4 is none of scales [0.5]"),
        (top(encoder={"references": 3}), "encoder.references 3: H.264 takes 1"),
        (setting(presets=["slwo"]), "datasets.synthetic.preset 'slwo': H.264 has ultrafast, superfast"),
        (setting(fps="30/0"), "datasets.synthetic.fps 30/0: expected a positive number, like 30"),
        (setting(fps=0), "datasets.synthetic.fps 0: expected a positive number"),
        (setting(fps=[30]), "datasets.synthetic.fps: [30] is not of type 'number', 'string'"),
    ],
)
def test_refusals_name_file_key_and_reason(change, message, experiment_of):
    with pytest.raises(WorkflowError) as caught:
        experiment_of("demo", change)
    assert str(caught.value).startswith(f"x.yaml: {message}")


def test_a_kind_without_splits_of_its_own_must_be_given_some(repository):
    config = yaml.safe_load((repository / "config/demo.yaml").read_text())
    del config["datasets"]["synthetic"]["splits"]
    schema = config_schema()
    for case in schema["$defs"]["dataset"]["allOf"]:  # as if a kind had been added and this forgotten
        case["then"].pop("required", None)
    message = r"x\.yaml: datasets\.synthetic\.splits: this key is missing.* kind synthetic"
    with pytest.raises(ConfigError, match=message):
        read_config(config, schema, "x.yaml")


def test_published_data_sets_have_splits_of_their_own(experiment_of):
    def official(config):
        config["datasets"]["camvid"]["source"]["split"] = "official"

    assert experiment_of("config").splits("camvid").test == "kaggle-test"
    assert experiment_of("config", official).splits("camvid").phase2_train == "official-train"
    assert experiment_of("config").splits("cityscapes").test == "val"
    assert experiment_of("demo").splits("synthetic").test == "test"


def test_runs_are_the_product_of_the_lists(experiment_of):
    paper = experiment_of("config")
    assert len(paper.runs()) == 4
    assert len(paper.evaluations()) == 4 * (1 + 7 + 7)
    assert len(paper.networks()) == 4 * (8 + 7)
    assert len(paper.figures()) == 2 + 4
    assert paper.published_values() == [paper.published]
    assert paper.comparisons() == ["results/paper/comparison.csv", "results/paper/comparison.md"]
    assert experiment_of("demo").comparisons() == []


def test_agreement_and_miou_are_in_files_of_their_own(experiment_of, tmp_path):
    (tmp_path / "hr.pt").touch()

    def videos(config):
        streets = config["datasets"]["synthetic"]
        drives = {
            **streets,
            "kind": "videos",
            "source": {"videos": "*.mp4"},
            "hr": {"checkpoint": str(tmp_path / "hr.pt")},
        }
        del drives["splits"]
        config["datasets"]["drives"] = drives

    def videos_alone(config):
        videos(config)
        del config["datasets"]["synthetic"]

    miou, agreement = ([f"results/demo/{name}.{end}" for end in ("csv", "md")] for name in ("miou", "agreement"))
    both, alone = experiment_of("demo", videos), experiment_of("demo", videos_alone)
    assert both.tables() == [*miou, *agreement, "results/demo/published"]
    assert alone.tables() == agreement
    assert [name.rpartition("/")[2] for name in both.figures()][:4] == [
        f"{score}_by_{x}.png" for score in ("miou", "agreement") for x in ("distance", "cost")
    ]
    assert [name.rpartition("/")[2] for name in alone.figures()][:2] == [
        *("agreement_by_distance.png", "agreement_by_cost.png")
    ]
    assert {path.split("/")[3] for path in both.evaluations("miou")} == {"synthetic"}
    assert {path.split("/")[3] for path in both.evaluations("agreement")} == {"drives"}
    jobs, of = Jobs(both), wildcards(curves="agreement")
    assert (jobs.plotted_table(of), jobs.plotted_metric(of)) == (agreement[0], "agreement")


OTHER_SPLITS = dict.fromkeys(("phase1_train", "phase1_val", "phase2_train", "phase2_val", "test"), "kaggle-val")


@pytest.mark.parametrize("change", [setting(rates=["2000k"]), setting(presets=["slow"]), setting(splits=OTHER_SPLITS)])
def test_what_was_not_published_is_not_compared(change, experiment_of):
    def changed(config):
        del config["datasets"]["cityscapes"]
        change(config)

    assert experiment_of("config", changed).published_values() == []


def test_an_encoding_has_every_option_of_its_command_and_says_what_was_chosen(experiment_of):
    options = Jobs(experiment_of("demo", setting(fps=29.97))).encoding(
        wildcards(dataset="synthetic", encoding="h264-300k-gop12-medium")
    )
    assert options == {
        **{"codec": "h264", "rate": "300k", "gop": 12, "fps": "30000/1001", "preset": "medium", "tail": "gop"},
        **{"references": [], "parameters": [], "subpixel": "--no-subpixel"},
    }
    chosen = top(encoder={"references": 4, "parameters": {"hevc": "aq-mode=1"}}, motion={"subpixel": True})
    experiment = experiment_of("config", chosen)
    (name,) = experiment.encodings["cityscapes"]
    options = Jobs(experiment).encoding(wildcards(dataset="cityscapes", encoding=name))
    assert options["references"] == ["--references", "4"]
    assert options["parameters"] == ["--parameters", "aq-mode=1"]
    assert (options["subpixel"], options["tail"], options["fps"]) == ("--subpixel", "annotated", "17")


def test_trainings_get_every_constant_and_the_exceptions_that_apply(experiment_of):
    def weigh_classes(config):
        config["datasets"]["camvid"].setdefault("training", {})["class_weights"] = [1, 0.5]

    jobs = Jobs(experiment_of("config", weigh_classes))
    camvid = jobs.training(1)(wildcards(backbone="psp18"))
    assert camvid["class_weights"] == ["--class-weights", "1", "0.5"]
    assert (camvid["crop"], camvid["epochs"], camvid["initial_weights"]) == ("960x720", 100, IMAGENET_WEIGHTS)
    assert "start_from" not in camvid  # a constant of phase 2 must not train phase 1 again
    bise = wildcards(dataset="cityscapes", backbone="bise18")
    assert jobs.training(1)(bise)["normalization"] == "bisenet"
    assert jobs.training(1)(bise)["class_weights"] == []
    second = jobs.training(2)(bise)
    assert (second["batch_size"], second["jitter"], second["start_from"]) == (16, 0.5, "hr")
    assert (second["feature_similarity"], second["channels_last"]) == ("--feature-similarity", "--no-channels-last")
    assert jobs.initial_weights(1)(bise) == [IMAGENET_WEIGHTS]
    assert jobs.initial_weights(2)(bise) == []  # it starts from the HR branch


def test_only_hevc_needs_its_reader_and_small_networks_load_for_themselves(experiment_of):
    jobs = Jobs(experiment_of("camvid-sequence"))
    for codec, needed in (("h264", []), ("hevc", [NATIVE_READER])):
        at = wildcards(dataset="camvid-sequence", encoding=f"{codec}-375k-gop12-medium")
        assert jobs.native_reader(at) == needed
    assert [jobs.threads(8)(wildcards(backbone=name)) for name in ("small", "tiny", "psp18")] == [1, 1, 8]
    assert [loader_workers(wildcards(), cores) for cores in (8, 1)] == [8, 0]


def test_modes_name_their_networks(experiment_of):
    jobs = Jobs(experiment_of("config"))
    at = {mode: wildcards(backbone="psp18", scale="50", mode=mode) for mode in ("hr", "lr", "warp", "ar")}
    hr, lr = "results/paper/phase1/camvid/psp18/scale100", "results/paper/phase1/camvid/psp18/scale50"
    assert jobs.evaluated_weights(at["hr"]) == {"hr": f"{hr}/seed233/weights.pt"}
    assert jobs.evaluated_weights(at["warp"]) == jobs.evaluated_weights(at["hr"])
    assert jobs.evaluated_networks(at["lr"]) == ["--lr", f"{lr}/seed233/weights.pt"]
    assert jobs.evaluated_weights(at["ar"]) == {
        "hr": f"{hr}/seed233/weights.pt",
        "lr": "results/paper/phase2/camvid/hevc-3000k-gop12-medium/psp18/scale50/seed233/weights.pt",
    }


def test_a_store_that_is_gone_from_a_finished_folder_is_named(tmp_path):
    folder = tmp_path / "all-distances/test/shard0"
    folder.mkdir(parents=True)
    stores = [str(folder / f"d0{distance}.h5") for distance in range(2)]
    assert declared(stores) == [str(folder)]
    (folder / ".snakemake_timestamp").touch()
    (folder / "d00.h5").touch()
    with pytest.raises(WorkflowError, match=r"d01\.h5: is missing from a finished folder\. Delete the folder"):
        declared(stores)


def own_frames(folder):
    for name in ("frames", "labels", "lists"):
        (folder / name).mkdir(parents=True)
    (folder / "classes.csv").touch()
    (folder / "lists/some.txt").touch()
    (folder / "splits.csv").write_text(
        "split,images,labels,list,sequence,first,last,frame_step\n"
        "train,frames,labels,lists/some.txt,,,,\ntest,frames,,lists/missing.txt,,,,\n"
    )
    return {"root": str(folder), "classes": str(folder / "classes.csv"), "splits": str(folder / "splits.csv")}


def test_the_folders_of_own_frames_are_watched(experiment_of, tmp_path):
    experiment = experiment_of("camvid-sequence", setting(source=own_frames(tmp_path / "own")))
    at = wildcards(dataset="camvid-sequence")
    sources = Sources(experiment)
    assert sources.ask("own_folders")(at) == (
        [f"{tmp_path}/own/frames", f"{tmp_path}/own/labels"],
        {"recursive": False},
    )
    assert sources.ask("manifest_inputs")(at)["lists"] == [f"{tmp_path}/own/lists/some.txt"]
    before = sources.digest(at)
    (tmp_path / "own/labels/1.png").touch()
    assert sources.digest(at) == before  # one run sees a folder once
    assert Sources(experiment).digest(at) != before
    assert Sources(experiment, watches=False).digest(at) == ""


def test_the_folders_of_published_data_sets_are_watched_where_they_are_the_users(experiment_of, tmp_path):
    def change(config):
        config["datasets"]["cityscapes"]["source"]["root"] = str(tmp_path)
        config["datasets"]["camvid"]["source"]["labels"] = str(tmp_path)

    downloaded, own = Sources(experiment_of("config")), Sources(experiment_of("config", change))
    gt_fine = tmp_path / "gtFine/val/city"
    gt_fine.mkdir(parents=True)
    labels = gt_fine / "city_000000_000019_gtFine_labelIds.png"
    labels.touch()
    for dataset in ("camvid", "cityscapes"):
        at = wildcards(dataset=dataset)
        assert downloaded.ask("own_folders")(at)[0] == []
        assert downloaded.digest(at) == ""
        before = own.digest(at)
        assert before
        labels.write_bytes(bytes(len(dataset)))
        assert Sources(own.experiment).digest(at) != before
    before = Sources(own.experiment).digest(at)
    (gt_fine / "city_000000_000019_gtFine_color.png").touch()  # which nobody reads
    assert Sources(own.experiment).digest(at) == before


def test_an_unset_environment_variable_is_named(experiment_of, monkeypatch):
    monkeypatch.delenv("ARSEG_CAMVID", raising=False)
    with pytest.raises(
        WorkflowError, match=r"source\.root: '\$ARSEG_CAMVID' names an environment variable that is not"
    ):
        Sources(experiment_of("camvid-sequence")).ask("own_folders")(wildcards(dataset="camvid-sequence"))


def test_the_warp_alone_is_evaluated_once_for_each_encoding(experiment_of):
    experiment = experiment_of("camvid-sequence", lambda config: config.update(seeds=[233]))
    found = [path.split("/")[4:] for path in experiment.evaluations() if "/warp/" in path]
    assert found == [
        [f"{codec}-375k-gop12-medium", "smp+fpn+tu-tf_efficientnet_lite0", "warp", "scale100", "seed233.npz"]
        for codec in ("h264", "hevc")
    ]
    assert "warp" in experiment.constraints()["mode"].split("|")
