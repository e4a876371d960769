"""What pyproject.toml cannot say: two folders beside the packages are installed inside ``bench``."""

from setuptools import find_namespace_packages, setup

OURS = [pattern for name in ("bench", "methods", "metrics") for pattern in (name, f"{name}.*")]

setup(
    packages=[
        *find_namespace_packages(include=OURS, exclude=["*.__pycache__"]),
        "bench.conf",
        "bench.reference",
    ],
    package_dir={"bench.conf": "conf", "bench.reference": "results/reference"},
    package_data={
        "": ["py.typed", "*.txt", "*.safetensors", "*.json", "*.html", "*.css", "*.js"],
        "bench.conf": ["**/*.yaml", "**/*.md"],
        "bench.reference": ["*.csv"],
    },
)
