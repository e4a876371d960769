"""The two mistakes every metric looks for in its input."""

from torch import Tensor


def require_shape(name: str, tensor: Tensor, *sizes: int | None) -> None:
    """Raise ValueError unless ``tensor`` has exactly these sizes; None stands for any size."""
    fits = tensor.ndim == len(sizes) and all(
        want in (None, have) for have, want in zip(tensor.shape, sizes, strict=True)
    )
    if not fits:
        expected = ", ".join("any" if size is None else str(size) for size in sizes)
        raise ValueError(f"{name}: expected shape ({expected}), got {tuple(tensor.shape)}")


def require_finite(name: str, tensor: Tensor) -> None:
    """Raise ValueError, naming the samples of the batch (first dimension), if any holds NaN or infinity."""
    if tensor.sum().isfinite():  # as no sum with NaN or infinity is, in a fraction of the time
        return
    finite = tensor.isfinite()
    if not finite.all():
        samples = (~finite.flatten(1).all(1)).nonzero().flatten().tolist()
        raise ValueError(f"{name}: NaN or infinity in sample(s) {samples} of this batch of {len(tensor)}")
