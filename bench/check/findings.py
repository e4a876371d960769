"""What checks found, and on what they are made."""

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.catalogue import PACKAGE
from bench.errors import BenchError, first_line
from bench.models import Batch, Model
from bench.models.build import build_model
from bench.runner.cell import dataset_of
from bench.runner.explain import REFUSALS


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Attributes:
        subject: what was checked.
        check: its name.
        passed: None for what is worth knowing and no fault.
        text: in words.
    """

    subject: str
    check: str
    passed: bool | None
    text: str


class Findings(list[Finding]):
    """All findings, in the order of the checks."""

    subject: str = ""

    @property
    def failed(self) -> list[Finding]:
        """Those that say what is wrong."""
        return [one for one in self if one.passed is False]

    def expect(self, check: str, passed: bool, good: str, bad: str) -> bool:
        """Note whether a check passed; returns that."""
        self.append(Finding(self.subject, check, bool(passed), good if passed else bad))
        return bool(passed)

    def note(self, check: str, text: str) -> None:
        """Note what is no fault."""
        self.append(Finding(self.subject, check, None, text))

    @contextmanager
    def attempt(self, check: str, refusal_is_fine: bool = False) -> Iterator[None]:
        """Note an error that is raised meanwhile as a failed check, instead of raising it.

        Args:
            refusal_is_fine: what our methods refuse a model for is a note.
        """
        try:
            yield
        except REFUSALS as e:
            self.append(
                Finding(self.subject, check, None if refusal_is_fine else False, f"refused: {first_line(e)}")
            )
        except BenchError as e:
            self.append(Finding(self.subject, check, False, str(e)))
        except Exception as e:  # code of the user's own may raise anything
            self.append(
                Finding(self.subject, check, False, f"{type(e).__name__}: {first_line(e)}{_raised_at(e)}")
            )


def _raised_at(error: Exception) -> str:
    """The line of the user's own code that an error comes from; nothing if it comes from none."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename
        and not Path(frame.filename).is_relative_to(PACKAGE)
        and Path(frame.filename).exists()
    ]
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""


@dataclass(frozen=True)
class Prepared:
    """A model with a few samples, as methods get them.

    Attributes:
        model: on the CPU.
        batch: the samples.
        numbers: the index of the logit of each class of the data set.
    """

    model: Model
    batch: Batch
    numbers: tuple[int, ...]


def prepared(config: Mapping[str, Any], dataset: Any = None) -> Prepared:
    """The model of a configuration with the first samples of its data set.

    Raises:
        BenchError: if they cannot be read or do not belong together.
    """
    dataset = dataset_of(config) if dataset is None else dataset
    model, settings = build_model(config["model"]), config["task"]["inputs"]
    model.check(settings)
    prepare = model.preparation(settings)
    samples = [prepare(dataset[index]) for index in range(len(dataset))]
    numbers = model.numbers(getattr(dataset, "classes", None))
    return Prepared(model, model.batch(samples, settings), tuple(numbers))
