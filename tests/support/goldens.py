"""The small models whose maps by the reference implementation are in ``tests/golden``, and what makes them here.

The reference has two ViT files that disagree about the epsilon of LayerNorm. Logits, rollout and GradCAM
come from the one with 1e-5 inside the blocks and 1e-6 at the end, everything else from the one with 1e-6
throughout. It shows (1.5e-4 in GradCAM), so each map is compared on a model with its own epsilon.
"""

import bench  # noqa: F401  isort: skip  (lets timm and transformers be imported)

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from methods import LRP, GradCAM, PartialLRP, RawAttention, Rollout, TransformerAttribution

HERE = Path(__file__).parents[1] / "golden"
FLOAT64, FLOAT32 = 1e-4, 1e-3
OTHER_FILE = ("logits", "rollout", "gradcam")

TO_CLASS = {
    "transformer_attribution.start0": TransformerAttribution(start_layer=0),
    "transformer_attribution.start1": TransformerAttribution(start_layer=1),
    "transformer_attribution_without_gradient.start1": TransformerAttribution(use_gradient=False),
    # Rolling up one block adds the identity to its map, which only the class token's own entry sees.
    "ablation.last_block": TransformerAttribution(start_layer=-1),
    "ablation.second_block": TransformerAttribution(start_layer=1, stop_layer=2),
    "partial_lrp": PartialLRP(),
    "lrp": LRP(),
    "gradcam": GradCAM(weights="row"),
}
TO_NO_CLASS = {
    "raw_attention": RawAttention(),
    "rollout.start0": Rollout(start_layer=0),
    "rollout.start1": Rollout(start_layer=1),
}
EXPLAINED = ("predicted", "target")
VIT_CASES = [(f"{name}.{which}", method) for name, method in TO_CLASS.items() for which in EXPLAINED]
VIT_CASES += TO_NO_CLASS.items()

BERT_TO_CLASS = {
    "transformer_attribution.start0": TransformerAttribution(start_layer=0, normalise_rows=True),
    "transformer_attribution.start3": TransformerAttribution(start_layer=3, normalise_rows=True),
    "partial_lrp": PartialLRP(),
    "lrp": LRP(),
    "gradcam": GradCAM(weights="matrix"),
}
BERT_TO_NO_CLASS = {"raw_attention": RawAttention(), "rollout.start0": Rollout(start_layer=0)}
BERT_CASES = [(f"{name}.class{c}", method, c) for name, method in BERT_TO_CLASS.items() for c in (0, 1)]
BERT_CASES += [(name, method, None) for name, method in BERT_TO_NO_CLASS.items()]


def error(ours: Tensor, reference: np.ndarray) -> float:
    """The greatest relative error ‖ours − reference‖ / ‖reference‖ of a map in the batch."""
    reference = torch.from_numpy(reference).double()
    difference = (ours.double().cpu() - reference).flatten(1).norm(dim=1)
    return (difference / reference.flatten(1).norm(dim=1)).max().item()


def in_models_precision(method) -> bool:
    """Whether the method does without relevance, and so without float64."""
    return not hasattr(method, "dtype")


# --- ViT


def vit_golden() -> dict:
    """The reference's maps by their keys, ``targets``, and ``images`` as the model takes them, in float64."""
    golden = dict(np.load(HERE / "vit_small_random.npz"))
    return golden | {"images": torch.from_numpy(golden["images"]).double() / 255 * 2 - 1}


def vit() -> nn.Module:
    """The model, in float32."""
    import timm

    model = timm.create_model("vit_base_patch16_224", embed_dim=48, depth=4, num_heads=3, num_classes=10)
    model.load_state_dict(load_file(HERE / "vit_small_random.safetensors"))
    return model.eval()


def with_epsilon_of(name: str, model: nn.Module) -> nn.Module:
    """The model with the epsilon of the file that the reference's map of that name comes from."""
    for block in model.blocks:
        block.norm1.eps = block.norm2.eps = 1e-5 if name.startswith(OTHER_FILE) else 1e-6
    return model


def vit_map(name: str, method, model: nn.Module, images: Tensor, targets: np.ndarray) -> Tensor:
    """Our map for the reference's ``name``, without the class token's entry."""
    if in_models_precision(method):
        images = images.to(next(model.parameters()).dtype)
    targets = torch.from_numpy(targets)[: len(images)].to(images.device) if name.endswith(".target") else None
    maps = method(with_epsilon_of(name, model), images, targets)
    return maps[:, 1:] if maps.ndim == 2 else maps


# --- BERT


def bert_golden() -> dict[str, np.ndarray]:
    """The reference's maps by their keys, ``input_ids`` and ``attention_mask``."""
    return dict(np.load(HERE / "bert_small_random.npz"))


def bert(attention: str = "sdpa") -> nn.Module:
    """The model, in float32."""
    from transformers import BertConfig, BertForSequenceClassification

    config = json.loads((HERE / "bert_small_random.config.json").read_text())
    model = BertForSequenceClassification(BertConfig(**config, attn_implementation=attention))
    model.load_state_dict(load_file(HERE / "bert_small_random.safetensors"))
    return model.eval()


def bert_errors(name: str, method, target: int | None, model: nn.Module, golden: Mapping) -> list[float]:
    """The error of each text's map; infinite where padding has relevance."""
    device = next(model.parameters()).device
    inputs = {key: torch.from_numpy(golden[key]).to(device) for key in ("input_ids", "attention_mask")}
    targets = None if target is None else torch.full((len(inputs["input_ids"]),), target, device=device)
    maps = method(lambda batch: model(**batch).logits, inputs, targets)
    found = []
    for ours, reference, mask in zip(maps, golden[name], inputs["attention_mask"].bool(), strict=True):
        length = int(mask.sum())  # the reference overwrote the class token's entry
        padded = (ours[~mask] != 0).any()
        found.append(float("inf") if padded else error(ours[None, 1:length], reference[None, 1:length]))
    return found
