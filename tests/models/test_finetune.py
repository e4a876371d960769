"""Fine-tuning: the recipe, what is kept, and going on after being killed."""

import json
import os
import signal
import subprocess
import sys

import pytest
import torch
from hydra import compose, initialize_config_dir
from safetensors.torch import load_file

import bench  # noqa: F401
from bench.catalogue import CONF, PROJECT
from bench.config import configuration, plain
from bench.embedded import CHECKPOINTS
from bench.embedded.reviews import reviews
from bench.errors import BenchError
from bench.finetune import training
from bench.finetune.pretrained import load_classifier, load_tokenizer
from bench.finetune.state import State
from bench.finetune.training import Trainer, finetune
from bench.models import TextModel
from bench.models.base import predicted
from bench.runner import tracking

pytestmark = pytest.mark.numerical

START = CHECKPOINTS / "bert_reviews"
FRESH = "{hidden_size:16,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32,"
FRESH += "hidden_dropout_prob:0.2,attention_probs_dropout_prob:0.1}"
SIZES = {"train": 14, "val": 8, "test": 6}
STEPS = 4  # an epoch has: 14 documents in batches of 4


@pytest.fixture(scope="module")
def movies(tmp_path_factory):
    """A tiny ERASER folder."""
    folder = tmp_path_factory.mktemp("movies")
    (folder / "docs").mkdir()
    for seed, (split, count) in enumerate(SIZES.items()):
        lines = []
        for index, review in enumerate(reviews(seed, count, words=(0, 20))):
            name = f"{split}{index}"
            (folder / "docs" / name).write_text(" ".join(review.words))
            label = ("NEG", "POS")[review.label]
            lines.append(json.dumps({"annotation_id": name, "classification": label, "evidences": []}))
        (folder / f"{split}.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture
def configure(movies, tmp_path):
    def configure(*overrides):
        settings = [
            f"start={START}",
            f"fresh={FRESH}",
            f"output={tmp_path / 'out'}",
            f"dataset.path={movies}",
            "batch_size=4",
            "epochs=3",
            "max_length=48",
            "learning_rate=0.01",
            "save_every=1",
            "device=cpu",
        ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return plain(compose("finetune", overrides=[*settings, *overrides]))

    return configure


def weights(config) -> dict[str, torch.Tensor]:
    return load_file(f"{config['output']}/model.safetensors")


def test_defaults_are_the_recipe_of_the_paper():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = plain(compose("finetune"))
    recipe = {"learning_rate": 1e-5, "batch_size": 10, "epochs": 10, "patience": 10, "clip_norm": 1.0}
    assert {key: config[key] for key in recipe} == recipe
    assert config["max_length"] == 512
    assert config["start"] == "google-bert/bert-base-uncased"
    assert config["output"] == configuration(["suite=paper", "task=token_f1"])["model"]["path"]


def test_the_program_finds_its_configuration():
    command = [sys.executable, "-m", "bench.finetune", "batch_size=0"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "batch_size=0: expected a whole number" in done.stderr


def trainer(config, tmp_path) -> Trainer:
    model = load_classifier(str(START), config["fresh"], len(load_tokenizer(str(START))), ("NEG", "POS"))
    return Trainer(config, model, State(tmp_path / "state", "x"), None, torch.device("cpu"))


def test_a_step_is_adam_on_the_summed_loss_with_the_gradient_clipped(configure, tmp_path):
    config = configure(
        "clip_norm=0.5", "fresh.hidden_dropout_prob=0.0", "fresh.attention_probs_dropout_prob=0.0"
    )
    ours = trainer(config, tmp_path)
    inputs = {
        "input_ids": torch.randint(5, 90, (4, 48), generator=torch.Generator().manual_seed(0)),
        "attention_mask": torch.ones(4, 48, dtype=torch.long),
    }
    labels = torch.tensor([0, 1, 1, 0])
    theirs = load_classifier(str(START), config["fresh"], len(load_tokenizer(str(START))), ("NEG", "POS"))
    theirs.load_state_dict(ours.model.state_dict())
    log_probabilities = theirs(**inputs).logits.log_softmax(dim=1)
    loss = -sum(log_probabilities[i, label] for i, label in enumerate(labels))
    loss.backward()
    norm = torch.stack([p.grad.norm() for p in theirs.parameters() if p.grad is not None]).norm()
    assert norm > 0.5  # so that it is clipped

    assert ours._step(inputs, labels) == pytest.approx(loss.item(), rel=1e-5)
    clipped = torch.stack([p.grad.norm() for p in ours.model.parameters() if p.grad is not None]).norm()
    assert clipped.item() == pytest.approx(0.5, rel=1e-4)
    assert type(ours.optimizer) is torch.optim.Adam
    assert ours.optimizer.param_groups[0]["lr"] == 0.01
    # Adam's first step moves every weight by the learning rate against the sign of its gradient.
    name = "classifier.weight"
    moved = ours.model.state_dict()[name] - theirs.state_dict()[name]
    assert torch.allclose(moved, -0.01 * theirs.get_parameter(name).grad.sign(), atol=1e-4)


def test_documents_are_cut_and_padded_to_one_length(configure, monkeypatch):
    seen = []
    logits = Trainer._logits
    monkeypatch.setattr(Trainer, "_logits", lambda self, x: seen.append(x) or logits(self, x))
    finetune(configure("epochs=1", "max_length=64"))
    assert {tuple(x["input_ids"].shape[1:]) for x in seen} == {(64,)}
    lengths = torch.cat([x["attention_mask"].sum(dim=1) for x in seen])
    assert lengths.min() < 64  # padded
    assert (lengths == 64).any()  # cut


def test_the_best_epoch_is_written_not_the_last(configure, monkeypatch):
    accuracies = iter([50.0, 75.0, 75.0, 60.0, 0.0, 0.0])  # four epochs, then val and test of the best
    monkeypatch.setattr(Trainer, "accuracy", lambda self, split: next(accuracies))
    kept = []
    keep_best = State.keep_best
    monkeypatch.setattr(
        State,
        "keep_best",
        lambda self, model: (
            kept.append({k: v.clone() for k, v in model.state_dict().items()}),
            keep_best(self, model),
        ),
    )
    config = configure("epochs=4")
    record = finetune(config)
    assert record["best_epoch"] == 2  # the first of equals
    assert len(kept) == 2
    assert all(torch.equal(value, kept[1][name]) for name, value in weights(config).items())
    assert [e["val_accuracy"] for e in record["epochs"]] == [50.0, 75.0, 75.0, 60.0]


def test_patience_ends_it(configure, monkeypatch):
    accuracies = iter([80.0, 70.0, 70.0, 0.0, 0.0])
    monkeypatch.setattr(Trainer, "accuracy", lambda self, split: next(accuracies))
    assert len(finetune(configure("epochs=9", "patience=2"))["epochs"]) == 3


def test_the_directory_loads_and_gives_the_recorded_accuracy(configure, movies):
    config = configure()
    record = finetune(config)
    assert record == json.loads((CONF.parent / config["output"] / "training.json").read_text())
    model = TextModel(config["output"])
    from bench.data import Movies

    samples = list(Movies(movies, "val"))
    numbers = model.numbers(("NEG", "POS"))
    found = [int(predicted(model, model.encode([s.words], 48).inputs, numbers)) for s in samples]
    right = sum(p == s.label for p, s in zip(found, samples, strict=True))
    assert record["accuracy"]["val"] == pytest.approx(100 * right / len(samples))
    assert record["documents"] == SIZES
    assert not list(CONF.parent.joinpath(config["output"]).parent.glob("out.*"))  # nothing is left behind


def test_it_learns(configure):
    record = finetune(configure("epochs=25", "max_length=32", "fresh.hidden_dropout_prob=0.0"))
    losses = [e["train_loss"] for e in record["epochs"]]
    assert losses[-1] < 0.3 * losses[0]


def killed(config, monkeypatch, place: str, count: int) -> None:
    """Run in a process of its own, which is killed at one of the calls of a function, half-way through it."""
    if child := os.fork():
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        return
    calls = iter(range(count))
    torch_save, replace = torch.save, os.replace

    def die_or(function):
        def called(*arguments, **options):
            if next(calls, None) is None:
                if function is torch_save:  # half a file
                    arguments[1].write_bytes(b"PK" + bytes(100))
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return called

    try:
        if place == "step":
            Trainer._step = die_or(Trainer._step)
        elif place == "save":
            torch.save = die_or(torch_save)
        elif place == "replace":
            os.replace = die_or(replace)
        elif place == "write":
            training._write = die_or(training._write)
        finetune(config)
    finally:
        os._exit(1)  # not killed: the parent notices


@pytest.mark.parametrize(
    ("place", "count"),
    [
        ("step", 0),
        ("step", 2),
        ("step", STEPS),
        ("step", 2 * STEPS + 3),
        ("save", 0),
        ("save", 3),
        ("save", STEPS + 1),  # the best of the first epoch is kept, the state is not yet saved
        ("replace", 2),
        ("replace", STEPS),
        ("write", 0),
    ],
)
@pytest.mark.usefixtures("one_thread")  # a process must not be forked beside others
def test_killed_at_any_point_it_comes_to_the_same_end(configure, tmp_path, monkeypatch, place, count):
    """To the bit: same machine, same batches, same number of threads."""
    whole = configure(f"output={tmp_path / 'whole'}")
    expected = finetune(whole)
    config = configure()
    killed(config, monkeypatch, place, count)
    record = finetune(config)
    assert record["epochs"] == expected["epochs"]
    assert record["best_epoch"] == expected["best_epoch"]
    found, wanted = weights(config), weights(whole)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_it_goes_on_and_does_not_start_again(configure, monkeypatch):
    config = configure("epochs=1")
    killed(config, monkeypatch, "step", 3)
    steps = []
    step = Trainer._step
    monkeypatch.setattr(Trainer, "_step", lambda self, *batch: steps.append(1) or step(self, *batch))
    finetune(config)
    assert len(steps) == STEPS - 3


def test_an_unfinished_training_with_other_settings_is_not_taken_up(configure, monkeypatch):
    killed(configure(), monkeypatch, "step", 3)
    with pytest.raises(BenchError, match="other settings; choose another output"):
        finetune(configure("learning_rate=0.02"))


def test_a_damaged_state_is_named(configure, monkeypatch, tmp_path):
    killed(configure(), monkeypatch, "step", 3)
    (tmp_path / "out.training" / "state.pt").write_bytes(b"half")
    with pytest.raises(BenchError, match=r"state\.pt is damaged"):
        finetune(configure())


def test_a_finished_training_is_not_run_again(configure, capsys):
    first = finetune(configure("epochs=1"))
    assert finetune(configure("epochs=2")) == first
    assert "finished already" in capsys.readouterr().out
    assert len(finetune(configure("epochs=2", "rerun=true"))["epochs"]) == 2


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("start=/no/such/model", "start: there is no directory /no/such/model"),
        ("start=no-such-model", "start: no tokenizer can be loaded from no-such-model"),
        ("dataset.path=/no/such/data", "/no/such/data"),
        ("+fresh.hiden_size=3", "fresh: BertConfig has no hiden_size"),
        ("fresh={hidden_size:15,num_attention_heads:2}", "start: no classifier can be made"),
        ("batch_size=0", "batch_size=0: expected"),
        ("learning_rate=-1", "learning_rate=-1: expected"),
        ("max_length=2", "max_length=2: expected"),
        ("max_length=5000", "max_length=5000"),
        ("device=cuda:99", "device=cuda:99"),
        ("wandb.mode=maybe", r"wandb\.mode=maybe"),
        ("output=/proc/nothing/here", "/proc/nothing/here"),
    ],
)
def test_bad_input_is_named(configure, override, message):
    with pytest.raises(BenchError, match=message):
        finetune(configure(override))


def test_a_folder_of_somebody_else_is_not_touched(configure, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("precious")
    with pytest.raises(BenchError, match="was not written by this program"):
        finetune(configure("rerun=true"))
    assert (tmp_path / "out" / "thesis.tex").exists()


def test_wandb_logs_and_its_failure_does_not_matter(configure, wandb_folder, monkeypatch, capsys):
    import wandb

    monkeypatch.setattr(tracking, "_failed", False)  # which it remembers for as long as the process lives
    logged = []
    monkeypatch.setattr(wandb.Run, "log", lambda self, data: logged.append(data))
    finetune(configure("wandb.mode=offline", "epochs=2"))
    assert [entry["epoch"] for entry in logged] == [1, 2]
    assert list(wandb_folder.glob("offline-run-*"))

    def fail(**_):
        raise wandb.errors.CommError("no connection")

    monkeypatch.setattr(wandb, "init", fail)
    record = finetune(configure("wandb.mode=offline", "rerun=true"))
    assert len(record["epochs"]) == 3
    assert "wandb failed (no connection); the training goes on" in capsys.readouterr().err
