"""Where a training run stands, on disk, so that it can be killed at any moment and go on."""

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.errors import BenchError
from bench.store.files import replace_file


class State:
    """The place in the training that was reached, and all that what follows depends on.

    Args:
        folder: where it is kept, until the training is over.
        recipe: the fingerprint of the settings that the result depends on.

    Attributes:
        history: what was measured in each finished epoch.
        step: the number of steps done in the present epoch.
        loss: their losses, added up.
        best: the file of the weights of the best epoch.
        run_id: the name under which the run is logged.

    Raises:
        BenchError: if what there is was made with other settings, or cannot be read.
    """

    def __init__(self, folder: Path, recipe: str):
        self.folder, self.recipe = folder, recipe
        self.history: list[dict[str, float]] = []
        self.step, self.loss = 0, 0.0
        self.best = folder / "best.pt"
        self.run_id = f"finetune-{recipe}"
        self._saved = self._read()
        if self._saved is not None:
            self.history, self.step, self.loss = (self._saved[key] for key in ("history", "step", "loss"))
            print(f"going on after {len(self.history)} epochs and {self.step} steps ({folder})")

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / "state.pt"
        if not path.exists():
            return None
        try:
            saved = torch.load(path, weights_only=True, map_location="cpu")
        except Exception as e:  # zip, pickle and torch each have errors of their own
            raise BenchError(f"{path} is damaged ({e}); delete {self.folder} to start again") from e
        if saved["recipe"] != self.recipe:
            raise BenchError(
                f"{self.folder} holds an unfinished training with other settings; choose another output, or "
                "delete that folder to forget it"
            )
        return saved

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Bring model, optimizer and random numbers to where they were, if anything was saved."""
        if self._saved is None:
            return
        model.load_state_dict(self._saved["model"])
        optimizer.load_state_dict(self._saved["optimizer"])
        torch.set_rng_state(self._saved["rng"])
        if self._saved["cuda_rng"]:
            torch.cuda.set_rng_state_all(self._saved["cuda_rng"])
        self._saved = None

    def end_step(self, loss: float) -> None:
        """Note a step."""
        self.step += 1
        self.loss += loss

    def end_epoch(self, measured: dict[str, float]) -> None:
        """Note what an epoch came to."""
        self.history.append({"epoch": len(self.history) + 1, **measured})
        self.step, self.loss = 0, 0.0

    def keep_best(self, model: nn.Module) -> None:
        """Keep the weights as the best so far. Killed before :meth:`save`, the same epoch ends once more."""
        self._write(self.best, model.state_dict())

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Keep everything; who goes on from here comes to the same end."""
        everything = {
            "recipe": self.recipe,
            "history": self.history,
            "step": self.step,
            "loss": self.loss,
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }
        self._write(self.folder / "state.pt", everything)

    def _write(self, path: Path, content: Any) -> None:
        try:
            replace_file(path, lambda aside: torch.save(content, aside))
        except (OSError, RuntimeError) as e:  # torch's own for a full disk
            raise BenchError(
                f"{path} cannot be written ({e}); free some space or choose another output. What was saved "
                "before is still there"
            ) from e

    def remove(self) -> None:
        """The training is over."""
        shutil.rmtree(self.folder)
