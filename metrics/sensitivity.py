"""Class sensitivity: do the maps for two classes of one picture lie on the objects of these classes?"""

from torch import Tensor

from metrics.localisation import mass_accuracy


def class_sensitivity(maps: Tensor, others: Tensor, masks: Tensor, other_masks: Tensor) -> Tensor:
    """How well the maps for two classes that are both in the picture tell them apart: (batch,) in 0..1.

    Of the positive relevance on either object, the share that lies on the object of the explained class, mean
    of both maps. Higher is better: 1 where each map shows its own object alone, ½ where both maps are the
    same, as those of methods that ignore the class. (The idea of the grid pointing game, Böhle, Fritz,
    Schiele, CVPR 2021, in one picture.) NaN where a map has no positive relevance on either object, or an
    object has no pixel.

    Args:
        maps, others: (batch, height, width), for the one and for the other class.
        masks, other_masks: likewise, boolean, without a pixel in common.

    Raises:
        ValueError: for shapes that differ, NaN or infinity, and objects that overlap.
    """
    if (masks & other_masks).any():
        raise ValueError(
            "masks: the two objects have pixels in common, so nobody could tell them apart there"
        )
    either = masks | other_masks
    shares = [
        mass_accuracy(each.double() * either, own) for each, own in ((maps, masks), (others, other_masks))
    ]
    return (shares[0] + shares[1]) / 2
