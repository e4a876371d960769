"""The fine-tuning of a text classifier, which can be ended at any step and gone on with.

The recipe is that of the paper's code, after ERASER (DeYoung et al., ACL 2020): see ``conf/finetune.yaml``.
The output is a directory that transformers loads, with ``training.json`` beside the weights.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.cli import progress
from bench.config import build, fingerprint
from bench.errors import BenchError
from bench.finetune.pretrained import load_classifier, load_tokenizer
from bench.finetune.state import State
from bench.models.pieces import pad_on_side, split_into_pieces
from bench.runner import tracking
from bench.runner.batches import seed_everything
from bench.runner.resources import device_of, versions

# What changes the result; the rest may differ between a run and the one that goes on with it.
RECIPE = (
    *("dataset", "start", "fresh", "learning_rate", "batch_size", "epochs", "patience", "clip_norm"),
    *("max_length", "seed"),
)


def finetune(config: dict[str, Any]) -> dict[str, Any]:
    """Train, or go on training, and write the best epoch to ``output``; returns what ``training.json`` holds.

    Raises:
        BenchError: for everything the user can mend.
    """
    _check(config)
    output = Path(config["output"])
    if (output / "training.json").exists():
        if not config["rerun"]:
            print(f"{output} is finished already; rerun=true trains again")
            return json.loads((output / "training.json").read_text())
        shutil.rmtree(output)
    recipe = {key: config[key] for key in RECIPE}
    state = State(output.with_name(output.name + ".training"), fingerprint(recipe))

    device = device_of(config["device"])
    seed_everything(config["seed"])
    tokenizer = load_tokenizer(config["start"])
    datasets = {
        split: build("dataset", config["dataset"] | {"split": split}) for split in ("train", "val", "test")
    }
    classes = _classes(datasets)
    model = load_classifier(config["start"], config["fresh"], len(tokenizer), classes).to(device)
    model.config.pad_token_id = tokenizer.pad_token_id
    pad_on_side(tokenizer, model.config)
    splits = {split: _encode(dataset, tokenizer, config["max_length"]) for split, dataset in datasets.items()}
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is not None and config["max_length"] > longest:
        raise BenchError(
            f"max_length={config['max_length']}: {config['start']} takes at most {longest} word pieces"
        )
    run = tracking.training(config, state.run_id)
    trainer = Trainer(config, model, state, run, device)
    best = trainer.train(splits["train"], splits["val"])

    model.load_state_dict(torch.load(state.best, weights_only=True, map_location=device))
    record = {
        "best_epoch": best,
        "accuracy": {split: trainer.accuracy(splits[split]) for split in ("val", "test")},
        "epochs": state.history,
        "documents": {split: len(labels) for split, (_, labels) in splits.items()},
        "settings": recipe,
        "parameters": sum(p.numel() for p in model.parameters()),
        "device": str(device),
        "versions": versions(),
    }
    _write(output, model, tokenizer, record)
    run.finish({"best_epoch": best, **record["accuracy"]})
    state.remove()
    print(f"{output}: epoch {best}, accuracy on test {record['accuracy']['test']:.1f} %")
    return record


class Trainer:
    """The loop over epochs and steps, which can be left at any step and entered again there.

    Args:
        config: the resolved ``conf/finetune.yaml``.
        model: the classifier, on ``device``.
        state: where to go on, and where to keep how far it has come.
        run: logs metrics.
    """

    def __init__(self, config: dict[str, Any], model: nn.Module, state: State, run, device: torch.device):
        self.config, self.model, self.state, self.run, self.device = config, model, state, run, device
        self.optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
        self.bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()

    def train(self, train: "Split", val: "Split") -> int:
        """Train until the last epoch or the end of the patience; returns the best epoch, from 1."""
        self.state.restore(self.model, self.optimizer)
        while not self._is_over():
            loss = self._epoch(train)
            accuracy = self.accuracy(val)
            if accuracy > max((e["val_accuracy"] for e in self.state.history), default=-1):
                self.state.keep_best(self.model)
            self.state.end_epoch({"train_loss": loss, "val_accuracy": accuracy})
            self.state.save(self.model, self.optimizer)
            self.run.log(self.state.history[-1])
            print(f"epoch {len(self.state.history)}: loss {loss:.4f}, accuracy on val {accuracy:.1f} %")
        return self._best()

    def _best(self) -> int:
        accuracies = [e["val_accuracy"] for e in self.state.history]
        return 1 + accuracies.index(max(accuracies))

    def _is_over(self) -> bool:
        done = len(self.state.history)
        return done >= self.config["epochs"] or (done > 0 and done - self._best() >= self.config["patience"])

    def _epoch(self, split: "Split") -> float:
        """Go on with an epoch; returns the loss per document."""
        inputs, labels = split
        epoch = len(self.state.history)
        # The order depends on the seed and the epoch alone, so that a run that goes on finds its place in it.
        shuffle = torch.Generator().manual_seed(self.config["seed"] * 10_000 + epoch)
        batches = torch.randperm(len(labels), generator=shuffle).split(self.config["batch_size"])
        left = batches[self.state.step :]
        with progress(f"epoch {epoch + 1}", len(left), "step") as advance:
            for batch in left:
                loss = self._step({name: value[batch] for name, value in inputs.items()}, labels[batch])
                self.state.end_step(loss)
                advance()
                if self.state.step % self.config["save_every"] == 0:
                    self.state.save(self.model, self.optimizer)
        return self.state.loss / len(labels)

    def _step(self, inputs: dict[str, Tensor], labels: Tensor) -> float:
        self.model.train()
        self.optimizer.zero_grad()
        loss = cross_entropy(self._logits(inputs), labels.to(self.device), reduction="sum")
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config["clip_norm"])
        self.optimizer.step()
        return loss.item()

    def _logits(self, inputs: dict[str, Tensor]) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            return self.model(
                **{name: value.to(self.device) for name, value in inputs.items()}
            ).logits.float()

    @torch.inference_mode()
    def accuracy(self, split: "Split") -> float:
        """Per cent of the documents that are classified correctly."""
        inputs, labels = split
        self.model.eval()
        right = 0
        with progress("accuracy", len(labels), "document") as advance:
            for batch in torch.arange(len(labels)).split(self.config["batch_size"]):
                logits = self._logits({name: value[batch] for name, value in inputs.items()})
                right += int((logits.argmax(dim=1).cpu() == labels[batch]).sum())
                advance(len(batch))
        return 100 * right / len(labels)


Split = tuple[dict[str, Tensor], Tensor]  # inputs (documents, max_length) by name, labels (documents,)


def _classes(datasets: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the classes, the same in all splits.

    Raises:
        BenchError: if they differ, or there are none.
    """
    found = {split: getattr(dataset, "classes", None) for split, dataset in datasets.items()}
    classes = found["train"]
    if classes is None or len(set(map(tuple, filter(None, found.values())))) != 1 or None in found.values():
        raise BenchError(
            "dataset: its splits have different classes, or none; give all of them as dataset.classes=[...]"
        )
    return tuple(classes)


def _encode(dataset, tokenizer, max_length: int) -> Split:
    """All documents of a split, with their queries, as word pieces, cut and padded to one length."""
    samples = [dataset[i] for i in range(len(dataset))]
    if unlabelled := [sample.id for sample in samples if sample.label is None]:
        raise BenchError(f"dataset: {unlabelled[0]} has no label, so it cannot be learned; leave it out")
    documents, queries = [sample.document for sample in samples], [sample.query for sample in samples]
    pieces = split_into_pieces(tokenizer, documents, queries, max_length, pad_to=max_length)
    return pieces.inputs, torch.tensor([sample.label for sample in samples])


def _write(output: Path, model: nn.Module, tokenizer, record: dict[str, Any]) -> None:
    """Write the directory aside, then rename it: whoever finds it finds it complete."""
    aside = output.with_name(output.name + ".aside")
    shutil.rmtree(aside, ignore_errors=True)
    try:
        model.save_pretrained(aside)
        tokenizer.save_pretrained(aside)
        (aside / "training.json").write_text(json.dumps(record, indent=1, default=str) + "\n")
        shutil.rmtree(output, ignore_errors=True)
        aside.rename(output)
    except OSError as e:
        raise BenchError(
            f"output={output} cannot be written ({e.strerror or e}); free some space or choose another, and "
            "start again: the training itself is kept"
        ) from e


def _check(config: dict[str, Any]) -> None:
    for key, least in (("batch_size", 1), ("epochs", 1), ("patience", 1), ("save_every", 1), ("seed", 0)):
        if not isinstance(config[key], int) or config[key] < least:
            raise BenchError(f"{key}={config[key]}: expected a whole number, {least} or more")
    for key in ("learning_rate", "clip_norm"):
        if not isinstance(config[key], (int, float)) or config[key] <= 0:
            raise BenchError(f"{key}={config[key]}: expected a positive number")
    if not isinstance(config["max_length"], int) or config["max_length"] < 3:
        raise BenchError(f"max_length={config['max_length']}: expected a number of word pieces, 3 or more")
    output = Path(config["output"])
    if output.exists() and not (output / "training.json").exists():
        raise BenchError(f"output={output} exists and was not written by this program; choose another")
    tracking.check(config["wandb"])
