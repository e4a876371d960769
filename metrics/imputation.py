"""The linear system of noisy linear imputation (ROAD), solved for many images at once.

Conjugate gradients, preconditioned by a multigrid cycle. Plain iterations are slow to carry what is known across wide
missing areas; coarser grids carry it there in a few steps, so the number of iterations hardly depends on the size of
the image or on which pixels are missing. Briggs, Henson, McCormick, *A Multigrid Tutorial*, SIAM 2000, chapters 3
and 8; Tatebe, "The multigrid preconditioned conjugate gradient method", 1993.
"""

from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

DIRECT, DIAGONAL = 1 / 6, 1 / 12  # weights of the neighbours
RESIDUAL = 1e-8  # relative, at which the iterations end
MOST_ITERATIONS = 300  # some dozen are needed
DAMPING = 0.9  # of the Jacobi steps
COARSEST = 8  # side of the grid that is small enough for the inverse of its matrix
TOGETHER = {"cpu": 1, "cuda": 16}  # images; alone one stays in a processor's cache


def impute(known: Tensor, missing: Tensor) -> Tensor:
    """Images with each missing pixel the weighted mean of its neighbours.

    Args:
        known: (batch, channels, height, width), 0 where pixels are missing.
        missing: (batch, height, width), boolean; some pixel of each image is not.

    Returns:
        The images, float64, solved to a relative residual of 1e-8 in each channel. None depends on the others of
        the batch.

    Raises:
        ArithmeticError: if the iterations do not converge.
    """
    images, gone = known.double(), missing[:, None]
    together = TOGETHER.get(known.device.type, 1)
    parts = []
    for some, free in zip(images.split(together), gone.double().split(together), strict=True):
        parts.append(_solved(_Pixels(free), _Pixels(free.float()), free * _weighted(some)))
    return torch.where(gone, torch.cat(parts), images) if parts else images


def _solved(system: "_Pixels", rough: "_Pixels", right: Tensor) -> Tensor:
    """The solution for the right sides (batch, channels, height, width): conjugate gradients for each of them.

    Args:
        rough: the same system in single precision, which is enough to precondition with.
    """

    def product(one: Tensor, other: Tensor) -> Tensor:
        return (one * other).flatten(2).sum(2)[..., None, None]

    def preconditioned(residual: Tensor) -> Tensor:
        return _cycle(rough, residual.to(rough.free.dtype)).to(residual)

    solution, residual = torch.zeros_like(right), right
    wanted = RESIDUAL**2 * product(right, right)
    direction = better = preconditioned(residual)
    slope = product(residual, better)
    for _ in range(MOST_ITERATIONS):
        active = product(residual, residual) > wanted
        if not active.any():
            return solution
        image = system.apply(direction)
        # What has converged is left alone, whatever else is in the batch.
        step = torch.where(active, slope / product(direction, image), 0)
        solution = solution + step * direction
        residual = residual - step * image
        better = preconditioned(residual)
        before, slope = slope, product(residual, better)
        direction = better + torch.where(active, slope / before, 0) * direction
    raise ArithmeticError(f"inpaint: the pixels are not solved for after {MOST_ITERATIONS} iterations")


def _cycle(level: "_Level", right: Tensor) -> Tensor:
    """An approximate solution, symmetric and linear in the right side: a step of Jacobi, coarser grids, and a step."""
    if level.coarser is None:
        return (level.whole_inverse @ right.flatten(2).mT).mT.view_as(right)
    found = level.relaxed(right)
    coarse = _cycle(level.coarser, _restricted(right - level.apply(found)))
    found = found + level.free * _prolonged(coarse, right.shape[-2:])
    return found + level.relaxed(right - level.apply(found))


class _Level:
    """A symmetric linear system on a grid whose nodes are coupled with their eight neighbours.

    Attributes:
        free: (batch, 1, height, width), 1 at the unknowns and 0 elsewhere; the number 1 where all are unknowns.
        diagonal: (batch, 1, height, width), of the matrix.
    """

    free: Tensor | float
    diagonal: Tensor

    def apply(self, values: Tensor) -> Tensor:
        """The matrix times values (batch, channels, height, width), which are 0 where there is no unknown."""
        raise NotImplementedError

    def relaxed(self, residual: Tensor) -> Tensor:
        """A step of Jacobi's method."""
        return self._steps * residual

    @cached_property
    def _steps(self) -> Tensor:
        return torch.where(self.diagonal * self.free > 0, DAMPING / self.diagonal, 0)

    @cached_property
    def coarser(self) -> "_Stencils | None":
        """The system P'AP on every other row and column, P being bilinear interpolation to the unknowns.

        A node is coupled with its neighbours alone, so nine products give the whole matrix: one with all nodes
        that are three rows and columns apart.
        """
        if max(size := self.diagonal.shape[-2:]) <= COARSEST:
            return None
        down, across = (torch.arange(n // 2 + 1, device=self.diagonal.device) for n in size)
        colours = 3 * (down[:, None] % 3) + across % 3
        nodes = F.one_hot(colours, 9).movedim(2, 0)[None].to(self.diagonal)
        found = _restricted(self.apply(self.free * _prolonged(nodes, size)))
        near = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        chosen = torch.stack([3 * ((down[:, None] + a) % 3) + (across + b) % 3 for a, b in near])
        return _Stencils(found.gather(1, chosen.expand(len(found), -1, -1, -1)))

    @cached_property
    def whole_inverse(self) -> Tensor:
        """The inverse of the matrix, (batch, nodes, nodes), 0 for what it does not determine."""
        size = self.diagonal.shape[-2:]
        nodes = torch.eye(size.numel()).to(self.diagonal).view(1, -1, *size)
        matrix = self.apply(self.free * nodes).flatten(2).double()
        return torch.linalg.pinv(matrix, hermitian=True, rtol=1e-6).to(nodes)


class _Pixels(_Level):
    """The system of the pixels: each times the sum of its neighbours' weights, less their weighted sum."""

    def __init__(self, free: Tensor):
        self.free = free
        self.diagonal = _weighted(torch.ones_like(free))

    def apply(self, values: Tensor) -> Tensor:
        return self.free * (self.diagonal * values - _weighted(values))


class _Stencils(_Level):
    """A system on a coarser grid.

    Args:
        weights: (batch, 9, height, width), of the three by three nodes around each, row by row.
    """

    free = 1.0

    def __init__(self, weights: Tensor):
        self._weights = weights[:, :, None].unbind(1)
        self.diagonal = self._weights[4]

    def apply(self, values: Tensor) -> Tensor:
        height, width = values.shape[-2:]
        padded, total = F.pad(values, (1, 1, 1, 1)), self.diagonal * values
        for place, weight in enumerate(self._weights):
            if place != 4:
                down, across = divmod(place, 3)
                total = total.addcmul_(weight, padded[..., down : down + height, across : across + width])
        return total


def _weighted(values: Tensor) -> Tensor:
    """The weighted sum of the eight neighbours of each pixel; there are none beyond the border."""
    beside = F.pad(values, (1, 1, 0, 0))
    beside = beside[..., :-2] + beside[..., 2:]
    row = DIRECT * values + DIAGONAL * beside
    total = DIRECT * beside
    total[..., 1:, :] += row[..., :-1, :]
    total[..., :-1, :] += row[..., 1:, :]
    return total


def _prolonged(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear interpolation to a grid of twice as many rows and columns, (…, *size)."""
    for dim, n in ((-2, size[0]), (-1, size[1])):
        odd = (values.narrow(dim, 0, n // 2) + values.narrow(dim, 1, n // 2)) / 2
        even = values.narrow(dim, 0, (n + 1) // 2)
        shape = [*values.shape]
        shape[dim] = n
        longer = values.new_empty(shape)
        _every_other(longer, dim, 0).copy_(even)
        _every_other(longer, dim, 1).copy_(odd)
        values = longer
    return values


def _restricted(values: Tensor) -> Tensor:
    """The transpose of :func:`_prolonged`."""
    for dim in (-1, -2):
        n = values.shape[dim]
        even, odd = _every_other(values, dim, 0), _every_other(values, dim, 1)
        shape = [*values.shape]
        shape[dim] = n // 2 + 1
        shorter = values.new_zeros(shape)
        shorter.narrow(dim, 0, (n + 1) // 2).add_(even)
        shorter.narrow(dim, 0, n // 2).add_(odd, alpha=0.5)
        shorter.narrow(dim, 1, n // 2).add_(odd, alpha=0.5)
        values = shorter
    return values


def _every_other(values: Tensor, dim: int, first: int) -> Tensor:
    return values[..., first::2] if dim == -1 else values[..., first::2, :]
