"""The page: its file, from templates."""

from collections.abc import Sequence
from pathlib import Path

import jinja2

from bench.errors import BenchError
from bench.report.sections import sections

LARGEST = 15 * 10**6  # bytes of the file


def write(overrides: Sequence[str], samples: int, images: int) -> Path:
    """Write the page of a suite and a protocol to ``results/<suite>/report/``; returns the file.

    Raises:
        BenchError: if no cell is finished, or the page becomes too large.
    """
    config, made = sections(overrides, samples, images)
    suite, protocol = config["suite"], config["protocol"]
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("bench.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    page = environment.get_template("page.html").render(
        suite=suite,
        protocol=f"{protocol['name']} v{protocol['version']}",
        command=" ".join(["python -m bench.report", *overrides]),
        sections=made,
    )
    size = len(page.encode())
    if size > LARGEST:
        raise BenchError(
            f"samples={samples}: the page would have {size / 1e6:.1f} MB, more than {LARGEST / 1e6:.0f} MB; "
            "choose fewer"
        )
    file = Path(config["paths"]["results"]) / suite["name"] / "report" / "index.html"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(page)
    return file
