"""A method in the project's own folder is made of its own sources, not of the project's."""

import sys

from bench.config import build
from bench.store.code import code_of


def test_the_projects_modules_are_no_sources_of_a_file_beside_them(tmp_path, monkeypatch):
    (tmp_path / "methods").mkdir()  # as where a user's file lies in a checkout of the project
    (tmp_path / "methods" / "__init__.py").write_text("")
    (tmp_path / "beside_helper.py").write_text("one = 1\n")
    (tmp_path / "beside.py").write_text(
        "from methods import Rollout\nfrom beside_helper import one\n\n\nclass Mine:\n    def __call__(self): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        described = code_of(build("method", {"_target_": "beside.Mine"}), "method")
    finally:
        for name in ("beside", "beside_helper"):
            sys.modules.pop(name, None)
    assert set(described["Mine"]["sources"]) == {"beside.py", "beside_helper.py"}
