"""The training loop that both embedded models share."""

import re
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader
from tqdm import tqdm

BLOCKS = re.compile(r"\bblocks\b|\bencoder\b")  # as timm and transformers name them
Batch = TypeVar("Batch")


def fit(
    modules: nn.ModuleList,
    loader: DataLoader,
    loss_of: Callable[[int, Batch], Tensor],
    steps: int,
    learning_rate: float,
    description: str,
) -> None:
    """One pass over ``loader``, one cycle of the learning rate, gradients clipped to norm 1.

    The matrices of the blocks are trained by Muon (Jordan et al. 2024), everything else by AdamW. ``loss_of``
    takes the number of the step, from 0, and a batch, and returns a scalar to minimise.
    """
    parameters = list(modules.parameters())
    hidden = [p for name, p in modules.named_parameters() if p.ndim == 2 and BLOCKS.search(name)]
    others = [p for p in parameters if not any(p is h for h in hidden)]
    optimizers = [
        torch.optim.Muon(hidden, weight_decay=0.02, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, weight_decay=0.02, betas=(0.9, 0.98)),
    ]
    schedules = [
        OneCycleLR(o, learning_rate, steps, pct_start=0.06, cycle_momentum=False) for o in optimizers
    ]
    progress = tqdm(loader, description, steps, unit="step", disable=None)  # not in a file
    for step, batch in enumerate(progress):
        loss = loss_of(step, batch)
        modules.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        if step % 20 == 0:
            progress.set_postfix(loss=f"{loss.item():.3f}")
