"""Fine-tuning on claims with documents: three labels, pairs of texts, encoders and decoders."""

import pytest
import torch
from hydra import compose, initialize_config_dir

import bench  # noqa: F401
from bench.catalogue import CONF
from bench.config import configuration, plain
from bench.data import Eraser
from bench.errors import BenchError
from bench.finetune.training import finetune
from bench.models import TextModel
from bench.models.base import predicted
from bench.runner.cell import run
from tests.support.tiny_claims import LABELS, SIZES, write_claims
from tests.support.tiny_models_of_texts import write_bert, write_decoder

pytestmark = pytest.mark.numerical

MODELS = {"bert": write_bert, "qwen3": lambda folder: write_decoder(folder, "qwen3")}
LENGTH = {"bert": 32, "qwen3": 96}


@pytest.fixture(scope="module")
def claims(tmp_path_factory):
    return write_claims(tmp_path_factory.mktemp("claims") / "claims")


@pytest.fixture
def configure(claims, tmp_path):
    def configure(family, *overrides):
        start = MODELS[family](tmp_path / "start")
        settings = [
            *("dataset=fever", f"dataset.path={claims}", f"dataset.classes=[{','.join(LABELS)}]"),
            *(f"start={start}", f"output={tmp_path / 'out'}", f"max_length={LENGTH[family]}"),
            *("batch_size=6", "epochs=1", "learning_rate=0.001", "device=cpu", *overrides),
        ]
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return plain(compose("finetune", overrides=settings))

    return configure


@pytest.mark.parametrize("family", MODELS)
def test_the_directory_reads_what_was_learned_as_it_was_learned(configure, claims, family, tmp_path):
    record = finetune(config := configure(family))
    assert record["documents"] == SIZES
    model = TextModel(config["output"])
    assert model.classes == LABELS
    test = Eraser(claims, "test", LABELS)
    samples = [test[i] for i in range(len(test))]
    batch = model.batch(samples, {"max_length": LENGTH[family]})
    assert (batch.words[:, :4] == -1).all()  # the claim
    found = predicted(model, batch.inputs, model.numbers(LABELS))
    right = int((found == torch.tensor(test.labels)).sum())
    assert record["accuracy"]["test"] == pytest.approx(100 * right / len(samples))
    # And the benchmark takes it.
    cell = configuration(
        [
            *("task=token_f1", "method=first_words", "dataset=fever", f"dataset.path={claims}", "device=cpu"),
            *(
                f"dataset.classes=[{','.join(LABELS)}]",
                "model=transformers",
                f"model.path={config['output']}",
            ),
            *(f"protocol.token_f1.max_length={LENGTH[family]}", f"paths.results={tmp_path / 'results'}"),
        ]
    )
    assert run(cell) is not None


def test_three_labels_are_learned_from_the_query(configure, tmp_path):
    easy = write_claims(tmp_path / "easy", easy=True)
    fresh = "{hidden_size:24,num_hidden_layers:1,num_attention_heads:2,intermediate_size:32,"
    fresh += "hidden_dropout_prob:0.0,attention_probs_dropout_prob:0.0}"
    settings = (f"dataset.path={easy}", "epochs=15", "learning_rate=0.01", f"fresh={fresh}")
    record = finetune(configure("bert", *settings))
    losses = [epoch["train_loss"] for epoch in record["epochs"]]
    assert losses[-1] < 0.5 * losses[0]
    assert record["accuracy"]["test"] > 60  # a third by chance


def test_other_data_sets_have_directories_of_their_own():
    with initialize_config_dir(str(CONF), version_base="1.3"):
        outputs = [
            plain(compose("finetune", overrides=[f"dataset={name}"]))["output"]
            for name in ("movies", "multirc", "fever", "boolq")
        ]
    assert [output.rpartition("/")[2] for output in outputs] == [
        "bert_base_movies",
        "bert_base_multirc",
        "bert_base_fever",
        "bert_base_boolq",
    ]


def test_a_set_without_a_split_for_training_is_named(configure, tmp_path):
    write_claims(tmp_path / "less", {"val": 3, "test": 3})
    with pytest.raises(BenchError, match=r"train\.jsonl: missing.*\['test\.jsonl', 'val\.jsonl'\]"):
        finetune(configure("bert", f"dataset.path={tmp_path / 'less'}"))


def test_a_claim_that_leaves_no_room_is_named(configure):
    with pytest.raises(BenchError, match=r"the query 'the \w+ is \w+' takes 7 of max_length=7"):
        finetune(configure("bert", "max_length=7"))
