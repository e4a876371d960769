"""``python -m tests.speed.profile``: the most expensive operations of a method (``make profile``)."""

import argparse

from torch.profiler import ProfilerActivity, profile

import bench  # noqa: F401  first: see its docstring
from bench.runner.resources import device_of, keep_freed_memory
from tests.speed.explaining import BOUNDED, METHODS, create, of_type, pixels

SHOWN = 5


def main() -> None:
    """Print them with their share of the time."""
    parser = argparse.ArgumentParser(prog="python -m tests.speed.profile", description=__doc__)
    parser.add_argument("--method", choices=list(METHODS), default="transformer attribution")
    parser.add_argument("--model", default=BOUNDED, help="timm's name")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--type", choices=["mixed", "float64", "float32"], default="mixed")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    device = device_of(options.device)
    method = of_type(METHODS[options.method], options.type) or METHODS[options.method]
    keep_freed_memory()
    model = create(options.model, device)
    images = pixels(model, options.batch, device)
    method(model, images)  # warm up
    gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as profiled:
        method(model, images)

    def cost(event) -> float:
        return event.self_device_time_total if gpu else event.self_cpu_time_total

    events = sorted(profiled.key_averages(), key=cost, reverse=True)
    total = sum(map(cost, events))
    print(f"{options.method}, {options.model}, {options.type}, batch {options.batch}, {device}")
    for event in events[:SHOWN]:
        share, milliseconds = 100 * cost(event) / total, cost(event) / 1000
        print(f"{share:5.1f} %  {milliseconds:10.1f} ms  {event.count:6d} calls  {event.key}")


if __name__ == "__main__":
    main()
