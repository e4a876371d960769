"""What becomes of the cells of a sweep, before any of them runs: stored already, refused, or left to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.config import fingerprint
from bench.errors import BenchError
from bench.models import Model
from bench.models.base import predicted
from bench.runner.batches import kept_random_state, seed_everything
from bench.runner.cell import Plan, done_already
from bench.runner.costs import Cost, Shape, of_map, of_measurement
from bench.runner.explain import explain
from bench.runner.foreign import ForeignMaps
from bench.runner.loop import first_sample, fitted
from bench.runner.settings import check
from bench.tasks.base import explained_classes
from methods.verify import for_check


@dataclass(frozen=True)
class Verdict:
    """What was found of a cell.

    Attributes:
        refused: why it cannot be computed; None if it can, as far as one sample shows.
        left: whether any of it is to be computed.
        cost: of what is left, in plain forward passes, of all its samples.
    """

    refused: str | None = None
    left: bool = True
    cost: float = 0.0


@dataclass
class Preflight:
    """Looks at one cell after the other; models that were loaded serve the next, and a method is tried once on each.

    What is tried is one map of one sample, with few draws where a method draws, on the CPU: GPUs are for the jobs.
    """

    _models: dict[str, Model] = field(default_factory=dict)
    _tried: dict[str, str | None] = field(default_factory=dict)

    def look(self, config: Mapping[str, Any]) -> Verdict:
        """What becomes of the cell of a resolved configuration; what is done already is said."""
        try:
            check(config)
            key = fingerprint(config["model"])
            plan = Plan.of(config, self._models.get(key))
            wanted = plan.wanted()
            if not wanted:
                done_already(plan)
                return Verdict(left=False)
            model = self._models.setdefault(key, plan.source.model())
            batch = self._tries(plan, model)
            shape = shape_of(model, batch)
            _check_budget(plan, shape)
        except BenchError as e:
            return Verdict(refused=str(e), left=False)
        cost = cost_of(plan, shape)
        return Verdict(cost=cost.plain(backward=2) / config["shards"])

    def _tries(self, plan: Plan, model: Model) -> Any:
        """Try a plan's method on its first sample, unless it was; gives the sample as a batch.

        Raises:
            BenchError: if the plan cannot be carried out.
        """
        config, dataset = plan.config, plan.dataset
        sample = first_sample(dataset, plan.skipping)
        method, numbers = fitted(config, [m for m, _ in plan.measured], dataset, sample, model, plan.method)
        settings = config["task"]["inputs"]
        batch = model.batch([model.preparation(settings)(sample)], settings)
        if isinstance(method, ForeignMaps):
            return batch
        sections = [config[key] for key in ("model", "method", "dataset", "explained", "seed")]
        key = fingerprint([*sections, settings])
        if key not in self._tried:
            with kept_random_state():
                seed_everything(config["seed"])
                target = predicted(model, batch.inputs, numbers)
                target = explained_classes(config["explained"], target, batch.labels)
                self._tried[key] = _refusal(for_check(method), model, batch, target, numbers)
        if (refusal := self._tried[key]) is not None:
            raise BenchError(refusal)
        return batch


def _check_budget(plan: Plan, shape: Shape) -> None:
    """Raises BenchError if a map takes more passes of the model than ``most_passes`` allows."""
    most, cost = plan.config["most_passes"], of_map(plan.method, shape)
    if most is not None and cost.forward + cost.backward > most:
        raise BenchError(
            f"method={plan.config['method']['name']}: a map takes about {cost.forward + cost.backward:.0f} passes, and "
            f"task={plan.task.name} allows {most} (most_passes=null for any number)"
        )


def _refusal(*arguments: Any) -> str | None:
    """Why a method refuses a batch; None if it does not.

    Other errors are not foretold: memory that runs out here is no sign of what happens where the cell is computed.
    """
    try:
        explain(*arguments)
    except BenchError as e:
        return str(e)
    except Exception:
        return None
    return None


def shape_of(model: Model, batch: Any) -> Shape:
    """What of a model its cost depends on, from a batch of one sample. Blocks are those of a base-size model."""
    if batch.words is None:
        rows, columns = model.grid
        height, width = batch.inputs.shape[-2:]
        return Shape(
            model.prefix_tokens + rows * columns, BLOCKS, None, int(height * width), model.prefix_tokens
        )
    return Shape(int(batch.words.shape[1]), BLOCKS, prefix=2)


BLOCKS = 12  # of which a method runs a part; the time left of a sweep needs no better number


def cost_of(plan: Plan, shape: Shape) -> Cost:
    """What is left of a plan costs; its maps are counted once, whatever is kept of them."""
    wanted = plan.wanted()
    measured = [measurement for measurement, *_ in wanted if measurement is not None]
    variants = {v for m in measured for v in m.variants}
    explained = any(m is None or m.needs_maps for m, *_ in wanted)
    total = Cost()
    for _ in range(len(variants) + explained):
        total += of_map(plan.method, shape)
    for measurement in measured:
        total += of_measurement(measurement, shape)
    return total.times(len(plan.dataset))
