"""Images with boxes, and what becomes of these when the images are resized and cropped."""

import numpy as np
import pytest
import torch
from PIL import Image

import bench  # noqa: F401
from bench.data import BoxedImages, ImageSample
from bench.errors import BenchError
from bench.models.preprocessing import ImageSettings, Preparation
from tests.support.tiny_images import WNIDS
from tests.support.tiny_images import write as write_images

HEAD = "image,wnid,x0,y0,x1,y1\n"


@pytest.fixture
def folder(tmp_path):
    return write_images(tmp_path) / "imagenet"


def table(folder, *lines, head=HEAD):
    (folder / "val_boxes.csv").write_text(head + "".join(f"{line}\n" for line in lines))


def test_images_that_have_boxes_and_no_others(folder):
    table(
        folder,
        f"{WNIDS[1]}_2.JPEG,x,1,2,10.5,20",
        f"{WNIDS[0]}_0.JPEG,x,0,0,5,5",
        f"{WNIDS[1]}_2.JPEG,x,9,9,12,12",
    )
    data = BoxedImages(folder)
    assert len(data) == 2
    assert data.labels == [0, 1]
    sample = data[1]
    assert sample.id == f"{WNIDS[1]}_2"
    assert sample.label == 1
    assert [list(box) for box in sample.boxes] == [[1, 2, 10.5, 20], [9, 9, 12, 12]]
    assert data.files[-1].name == "val_boxes.csv"  # another box is another data set


@pytest.mark.parametrize(
    ("lines", "head", "named"),
    [
        (["other.JPEG,x,0,0,5,5"], HEAD, "names none of the images"),
        ([f"{WNIDS[0]}_0.JPEG,x,5,0,5,5"], HEAD, "line 2: a box from"),
        ([f"{WNIDS[0]}_0.JPEG,x,a,0,5,5"], HEAD, "line 2: expected numbers"),
        ([f"{WNIDS[0]}_0.JPEG,x,0,0,5"], HEAD, "line 2: expected numbers"),
        ([f"{WNIDS[0]}_0.JPEG,x,0,0,nan,5"], HEAD, "line 2: a box from"),
        ([], "image,x0,y0,x1\n", "lacks the column y1"),
    ],
)
def test_damaged_tables_are_named(folder, lines, head, named):
    table(folder, *lines, head=head)
    with pytest.raises(BenchError, match=named):
        BoxedImages(folder)


def test_a_table_that_is_missing(folder):
    with pytest.raises(BenchError, match=r"val_boxes\.csv: cannot be read"):
        BoxedImages(folder)


@pytest.mark.parametrize("resize", ["squash", "model"])
def test_boxes_follow_their_image(resize):
    """A white box on black is white again where the mask is, but for the pixels that its border goes through."""
    image = np.zeros((60, 90, 3), np.uint8)
    image[20:50, 15:80] = 255
    box = (15.0, 20.0, 80.0, 50.0)
    interpolation = "bilinear" if resize == "squash" else None
    prepare = Preparation(ImageSettings(32, resize, interpolation), crop=0.9, interpolation="bilinear")
    sample = prepare(ImageSample("a", Image.fromarray(image), None, None, [box]))
    white = sample.image.mean(0)
    assert sample.mask.dtype == torch.bool
    assert (white[~sample.mask] < 0.6).all()
    assert (white[sample.mask] > 0.05).float().mean() > 0.95
    assert sample.mask.any()
    assert sample.boxes is None


def test_a_box_that_is_cropped_away_leaves_an_empty_mask():
    prepare = Preparation(ImageSettings(32, "model", None), crop=0.5, interpolation="bilinear")
    sample = prepare(ImageSample("a", Image.new("RGB", (90, 60)), None, None, [(0.0, 0.0, 3.0, 3.0)]))
    assert not sample.mask.any()
