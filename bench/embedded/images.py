"""Handwritten digits drawn on photographs: a stand-in for ImageNet and ImageNet-Segmentation.

Every picture shows one large handwritten digit, which gives its label and its mask, on a crop of a real
photograph. About half of them also show a second digit of another class, at most about half as large, so that
a method which explains *the* class can be told from one that finds everything that stands out.

The digits are those of ``sklearn.datasets.load_digits`` (8×8, 43 writers), the photographs the two of
``sklearn.datasets.load_sample_images``. Digits and photographs are both split, so that a held-out picture
shares neither a digit nor a pixel of background with any training picture.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from bench.embedded import NAMES, WNIDS

Split = Literal["train", "heldout"]

HELDOUT_DIGITS = 0.2  # share of the digits of each class
HELDOUT_STRIP = 0.4  # right-hand share of each photograph's width
DIMMED = (0.35, 0.6)  # brightness left to the photographs, so that light digits stand out everywhere
WIDTHS = range(270, 601, 55)  # of the strips in pixels, each wider than any picture
ENLARGED = 8  # scans are smoothly enlarged and made opaque once, then only turned and stretched

# Opacity of a stroke by the ink of the interpolated scan: clear below about 0.4 of full ink, with a soft rim.
OPACITY = [round(255 * min(max((ink / 255 - 0.48) * 5 + 0.5, 0), 1)) for ink in range(256)]


@dataclass(frozen=True)
class Picture:
    """A generated picture.

    Attributes:
        pixels: (H, W, 3) uint8, RGB.
        label: class of the large digit, 0–9.
        mask: (H, W) bool, the strokes of the large digit.
        other_label: class of the small digit, or None where there is none.
        other_mask: (H, W) bool, the strokes of the small digit; empty where there is none.
    """

    pixels: np.ndarray
    label: int
    mask: np.ndarray
    other_label: int | None
    other_mask: np.ndarray


@cache
def _digits(split: Split) -> tuple[tuple[Image.Image, ...], ...]:
    """The digits of one split, by class, each with an empty margin that leaves room for turning it."""
    scans, labels = load_digits(return_X_y=True)
    scans = np.pad(scans.reshape(-1, 8, 8) / 16 * 255, ((0, 0), (1, 1), (1, 1))).astype(np.uint8)
    classes = []
    for digit in range(10):
        own = scans[labels == digit]
        own = own[np.random.default_rng(digit).permutation(len(own))]
        cut = round(len(own) * HELDOUT_DIGITS)
        side = scans.shape[1] * ENLARGED
        chosen = own[:cut] if split == "heldout" else own[cut:]
        enlarged = (Image.fromarray(d).resize((side, side), Image.Resampling.BICUBIC) for d in chosen)
        classes.append(tuple(scan.point(OPACITY) for scan in enlarged))
    return tuple(classes)


def _strips(split: Split) -> list[np.ndarray]:
    """One split's part of each photograph: the left of it for training, the right is held out."""
    strips = []
    for photograph in load_sample_images().images:
        cut = round(photograph.shape[1] * (1 - HELDOUT_STRIP))
        strips.append(photograph[:, cut:] if split == "heldout" else photograph[:, :cut])
    return strips


@cache
def _photographs(split: Split) -> tuple[Image.Image, ...]:
    """The strips in a few sizes, so that a crop of any zoom costs no resizing."""
    strips = [Image.fromarray(np.ascontiguousarray(strip)) for strip in _strips(split)]
    return tuple(s.resize((width, s.height * width // s.width)) for s in strips for width in WIDTHS)


def draw(rng: np.random.Generator, split: Split, label: int, size: tuple[int, int] = (224, 224)) -> Picture:
    """Draw one picture of the class ``label``, (width, height) = ``size``, all randomness from ``rng``."""
    other_label = int(label + rng.integers(1, 10)) % 10
    image = _background(rng, split, size)
    if rng.random() < 0.5:
        mask = _paint(rng, image, split, label, _place_one(rng, size))
        return Picture(np.asarray(image), label, mask, None, np.zeros_like(mask))
    box, other_box = _place_two(rng, size)
    mask = _paint(rng, image, split, label, box)
    other_mask = _paint(rng, image, split, other_label, other_box)
    return Picture(np.asarray(image), label, mask, other_label, other_mask)


def _background(rng: np.random.Generator, split: Split, size: tuple[int, int]) -> Image.Image:
    photographs = _photographs(split)
    photograph = photographs[rng.integers(len(photographs))]
    left = int(rng.integers(photograph.width - size[0] + 1))
    top = int(rng.integers(photograph.height - size[1] + 1))
    crop = photograph.crop((left, top, left + size[0], top + size[1]))
    brightness = rng.uniform(*DIMMED)
    dimmed = crop.point([int(level * brightness) for level in range(256)] * 3)
    return dimmed.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else dimmed


def _place_one(rng: np.random.Generator, size: tuple[int, int]) -> tuple[int, int, int]:
    side = int(rng.uniform(0.68, 0.78) * min(size))
    return int(rng.integers(size[0] - side + 1)), int(rng.integers(size[1] - side + 1)), side


def _place_two(
    rng: np.random.Generator, size: tuple[int, int]
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Boxes (left, top, side) of a large and a small digit, which do not overlap along one of the axes."""
    sides = [int(rng.uniform(0.64, 0.70) * min(size)), int(rng.uniform(0.27, 0.30) * min(size))]
    axis = int(rng.integers(2))
    corners = np.array([[rng.integers(size[a] - side + 1) for a in range(2)] for side in sides])
    # The two share the axis: what is free is dealt out before, between and behind them.
    first = int(rng.integers(2))
    before, behind = np.sort(rng.integers(size[axis] - sum(sides) + 1, size=2))
    corners[first, axis], corners[1 - first, axis] = before, behind + sides[first]
    (x0, y0), (x1, y1) = corners.tolist()
    return (x0, y0, sides[0]), (x1, y1, sides[1])


def _paint(
    rng: np.random.Generator, image: Image.Image, split: Split, label: int, box: tuple[int, int, int]
) -> np.ndarray:
    """Paint a digit of class ``label`` into ``box`` of ``image``, in place; returns its (H, W) bool mask."""
    left, top, side = box
    digits = _digits(split)[label]
    digit = digits[rng.integers(len(digits))]
    cell = digit.width / side  # cells of the scan per pixel
    turn, slant, squeeze = rng.uniform((-0.1, -0.08, 0.9), (0.1, 0.08, 1.1))
    # PIL wants the map from the pixels of the box to the cells of the scan, about the centre of both.
    a, b = cell * squeeze * np.cos(turn), cell * (slant + np.sin(turn))
    d, e = -cell * np.sin(turn), cell * np.cos(turn)
    middle, centre = digit.width / 2, side / 2
    matrix = (a, b, middle - (a + b) * centre, d, e, middle - (d + e) * centre)
    opacity = digit.transform((side, side), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    colour = np.clip(rng.uniform(220, 255) + rng.uniform(-40, 40, 3), 0, 255).astype(int)
    image.paste(tuple(colour.tolist()), (left, top), opacity)
    mask = np.zeros((image.height, image.width), bool)
    mask[top : top + side, left : left + side] = np.asarray(opacity) > 127
    return mask


def heldout(seed: int, count: int) -> Iterator[Picture]:
    """Held-out pictures, the classes in turn, in sizes about the model's 224×224 as real files have them.

    Each comes from a random generator of its own, so the first ones do not depend on ``count``.
    """
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        width, height = (int(side) for side in rng.integers(208, 241, size=2))
        yield draw(rng, "heldout", index % 10, (width, height))


def write_imagenet(folder: Path, pictures: Iterator[Picture]) -> None:
    """Write ``folder/class_index.json`` and ``folder/val/<wnid>/*.JPEG``, an ImageNet validation folder."""
    for wnid in WNIDS:
        (folder / "val" / wnid).mkdir(parents=True)
    classes = {str(digit): [wnid, NAMES[digit]] for digit, wnid in enumerate(WNIDS)}
    (folder / "class_index.json").write_text(json.dumps(classes, indent=1))
    for index, picture in enumerate(pictures, start=1):
        path = folder / "val" / WNIDS[picture.label] / f"embedded_val_{index:08d}.JPEG"
        Image.fromarray(picture.pixels).save(path, quality=92)


def write_segmentation(path: Path, pictures: Iterator[Picture]) -> None:
    """Write a ``gtsegs_ijcv.mat``: MATLAB 7.3, that is HDF5 behind a header of 512 bytes.

    MATLAB counts columns first, so images are stored as (3, W, H) and masks as (W, H). ``/value/img`` refers
    to the images; ``/value/gt`` to 1×1 cells, which refer to the masks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:

        def cells(name: str, targets: list[h5py.Dataset]) -> h5py.Dataset:
            references = np.array([[target.ref] for target in targets], h5py.ref_dtype)
            return matlab(file.create_dataset(name, data=references), "cell")

        def array(name: str, data: np.ndarray) -> h5py.Dataset:
            return matlab(
                file.create_dataset(name, data=data, compression="gzip", compression_opts=1), "uint8"
            )

        def matlab(node: h5py.Dataset, kind: str) -> h5py.Dataset:
            node.attrs["MATLAB_class"] = np.bytes_(kind)
            return node

        matlab(file.create_group("value"), "struct")
        images, masks = [], []
        for index, picture in enumerate(pictures):
            images.append(array(f"#refs#/img{index}", picture.pixels.transpose(2, 1, 0)))
            mask = array(f"#refs#/mask{index}", picture.mask.T.astype(np.uint8))
            masks.append(cells(f"#refs#/gt{index}", [mask]))
        cells("value/img", images)
        cells("value/gt", masks)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: any, written by h5py".ljust(124) + b"\x00\x02IM")
