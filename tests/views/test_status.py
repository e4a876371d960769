"""What is done, running, failed and missing, and how long the rest will take."""

import json
import os
import subprocess
import sys
import time

import pytest

from bench.runner.cell import run
from bench.status.program import Line, main, per_model, status
from bench.store.files import claimed
from tests.support.cells import cell_of
from tests.support.tiny_images import OPTIONS

EXPECTED = {  # of the experiments table2 and ablation_segmentation
    *(
        "transformer_attribution",
        "raw_attention",
        "rollout",
        "gradcam",
        "lrp",
        "partial_lrp",
        "random",
        "oracle",
    ),
    *("without_gradient", "last_block_only", "second_block_only"),
}


@pytest.fixture
def arguments(configure):
    """The command line of the tiny cells of segmentation."""
    config = configure("segmentation", "method=rollout")
    return [
        *("task=segmentation", "dataset=imagenet_segmentation", "model=timm", "batch_size=4", "device=cpu"),
        *("model.architecture=vit_tiny_patch16_224", OPTIONS, "protocol.images.size=32"),
        f"model.checkpoint={config['model']['checkpoint']}",
        f"paths.data={config['paths']['data']}",
        f"paths.results={config['paths']['results']}",
    ]


def by_method(lines, kind="mask_overlap"):
    return {line.method: line for line in lines if line.kind == kind}


def states(lines):
    return {method: line.state for method, line in by_method(lines).items()}


def test_states_and_counts(configure, arguments):
    assert states(status(arguments)) == dict.fromkeys(EXPECTED, "missing")
    run(configure("segmentation", "method=gradcam"))
    lines = status(arguments)
    assert states(lines) == dict.fromkeys(EXPECTED, "missing") | {"gradcam": "done"}
    done = by_method(lines)["gradcam"]
    assert (done.done, done.samples) == (4, 4)
    assert done.per_second > 0
    assert all(line.seconds_left > 0 for line in lines if line.state == "missing")
    with pytest.raises(Exception, match="start_layer"):
        run(configure("segmentation", "method=rollout", "method.start_layer=9"))
    with pytest.raises(Exception, match="cuda:77"):
        run(configure("segmentation", "method=raw_attention", "device=cuda:77"))
    failed = by_method(status(arguments))["raw_attention"]
    assert failed.state == "failed"
    assert "cuda:77" in failed.note


def test_a_cell_of_which_nothing_is_saved_yet_is_running_however_it_is_cut(configure, arguments):
    cell = cell_of(configure("segmentation", "method=lrp"))
    with claimed(cell.lock_file("3-of-4"), wait=False):
        cell.announce("3-of-4")
        assert states(status(arguments))["lrp"] == "running"
    assert states(status(arguments))["lrp"] == "missing"


def test_a_method_that_ignores_the_class_is_done_for_every_class(configure, arguments):
    run(configure("segmentation", "method=rollout"))
    assert states(status(arguments))["rollout"] == "done"
    assert by_method(status(arguments))["rollout"].explained == "any"


def test_the_command_prints_a_table_or_json(configure, arguments, capsys):
    run(configure("segmentation", "method=gradcam"))
    capsys.readouterr()
    main(arguments)
    printed = capsys.readouterr().out
    assert "| done " in printed
    assert f"{len(EXPECTED) - 1} missing, 1 done; left: " in printed
    main([*arguments, "--json"])
    assert {line["state"] for line in json.loads(capsys.readouterr().out)} == {"missing", "done"}


def test_a_damaged_cell_is_not_done(configure, arguments):
    config = configure("segmentation", "method=gradcam")
    run(config)
    file = cell_of(config).rows_file
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    assert by_method(status(arguments))["gradcam"].state == "damaged"


def test_cells_of_an_older_format_are_named_and_stay(configure, arguments):
    run(configure("segmentation", "method=gradcam"))
    folder = cell_of(configure("segmentation", "method=gradcam")).record_file.parents[1] / "segmentation"
    folder.mkdir()
    old = folder / "digits--vit--lrp--predicted--12345678.json"
    old.write_text(json.dumps({"conditions": {"format": 2}, "config": {}}))
    suite = [a for a in arguments if a.startswith("paths.")]
    older = [line for line in status(suite) if line.state == "older format, run again"]
    assert [line.note for line in older] == [str(old)]
    assert old.exists()


def test_the_cells_of_a_suite_are_known_before_any_is_run(root, tmp_path, capsys):
    tasks = (
        "task=perturbation,segmentation,token_f1,faithfulness,faithfulness_texts,localisation,plausibility"
    )
    printed = []
    for own in ([tasks], []):
        main(["--json", f"paths.data={root}", f"paths.results={tmp_path}", *own])
        printed.append(json.loads(capsys.readouterr().out))
    lines, everything = printed
    assert {line["cell"] for line in lines} < {line["cell"] for line in everything}
    kinds = {line["kind"] for line in lines}
    assert {
        "masking",
        "mask_overlap",
        "rationale_overlap",
        "removal_curves",
        "localisation",
        "plausibility",
    } <= kinds
    assert {line["state"] for line in lines} == {"missing"}
    assert sum(line["kind"] == "masking" for line in lines) == 2 * 7 + 3
    # Two fills for images and two for texts; rationale overlap is part of two tasks, and one cell in both.
    assert sum(line["kind"] == "removal_curves" for line in lines) == 2 * 7 + 2 * 7
    assert sum(line["kind"] == "rationale_overlap" for line in lines) == 9
    assert not list(tmp_path.iterdir())


def test_a_reader_that_has_seen_enough_makes_nothing_fail(configure, arguments):
    run(configure("segmentation", "method=gradcam"))
    command = [sys.executable, "-m", "bench.status", *arguments]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    started.stdout.close()  # as head does when it has its lines
    assert started.wait(120) == 0, started.stderr.read()


@pytest.mark.skipif(os.name != "posix", reason="looks at times of access")
def test_it_writes_nothing(configure, arguments):
    config = configure("segmentation", "method=gradcam")
    run(config)
    root = cell_of(config).folder
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    time.sleep(0.01)
    main(arguments)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_what_is_left_is_said_of_each_model():
    def line(model, state, seconds):
        return Line("a cell", "masking", "lrp", "predicted", state, seconds_left=seconds, model=model)

    lines = [line("large", "missing", 3600.0), line("large", "running", 60.0), line("large", "missing", None)]
    assert per_model(lines) == []  # one model alone has its hours in the sum
    lines += [line("small", "done", 0.0), line("large", "done", 0.0)]
    assert per_model(lines) == [
        "  large: 1:01:00 left in 3 cells, and 1 of unknown cost",
        "  small: all done",
    ]


def test_the_cells_of_an_experiment_are_sought_on_as_many_samples_as_it_asks_for(configure, arguments):
    run(configure("segmentation", "method=smoothgrad", "method.samples=2"))
    run(configure("segmentation", "method=tam", "method.start_layer=0"))
    found = states(status([*arguments, "experiment=compete_dear", "subset=2"]))
    assert found["integrated_gradients"] == "missing"
    assert "rollout" not in found
