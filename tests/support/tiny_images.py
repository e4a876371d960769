"""A tiny image suite: nine images of three classes, four masks, a ViT of random weights."""

import json
from pathlib import Path

import h5py
import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

import bench  # noqa: F401

TINY = {"embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 3, "img_size": 32, "patch_size": 8}
OPTIONS = "model.options={" + ",".join(f"{k}:{v}" for k, v in TINY.items()) + "}"
WNIDS = ("n00000001", "n00000002", "n00000003")


def write(root: Path) -> Path:
    """Write it to ``root``, laid out as a data root, with the weights in ``tiny.safetensors``."""
    import timm

    rng = np.random.default_rng(0)
    classes = {str(i): [wnid] for i, wnid in enumerate(WNIDS)}
    for wnid in WNIDS:
        folder = root / "imagenet" / "val" / wnid
        folder.mkdir(parents=True)
        for i in range(3):
            pixels = rng.integers(0, 256, (40, 36, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{wnid}_{i}.JPEG")
    (root / "imagenet" / "class_index.json").write_text(json.dumps(classes))
    (root / "imagenet_segmentation").mkdir()
    with h5py.File(root / "imagenet_segmentation" / "gtsegs_ijcv.mat", "w") as f:
        images, masks = [], []
        for i in range(4):
            images.append(
                f.create_dataset(f"r/i{i}", data=rng.integers(0, 256, (3, 36, 40), dtype=np.uint8)).ref
            )
            mask = f.create_dataset(f"r/m{i}", data=rng.integers(0, 2, (36, 40), dtype=np.uint8))
            masks.append(f.create_dataset(f"r/c{i}", data=np.array([[mask.ref]], h5py.ref_dtype)).ref)
        f["value/img"] = np.array(images, h5py.ref_dtype)[:, None]
        f["value/gt"] = np.array(masks, h5py.ref_dtype)[:, None]
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", **TINY)
    save_file(model.state_dict(), root / "tiny.safetensors")
    return root
