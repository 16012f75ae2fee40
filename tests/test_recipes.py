"""Each recipe runs, and what it shows is so."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from examples.recipes import (
    equinox_mlp,
    haiku_mlp,
    linen_train_state,
    loggers,
    low_rank,
    mup_transfer,
    nnx_optimizer,
    torch_weights,
)

ROOT = Path(__file__).parent.parent


def test_linen_train_state_logs_in_every_second_step():
    logged = linen_train_state.main(steps=3)

    assert logged[-1]["loss"] < logged[0]["loss"]
    assert [len(line) > 1 for line in logged] == [True, False, True]
    assert {"train/rms/Dense_0", "train/grad_rms/Dense_2"} < set(logged[0])
    assert "train/wgrad_norm/Dense_1/kernel" in logged[2]


def test_nnx_optimizer_trains_and_logs():
    losses, scalars = nnx_optimizer.main()

    assert losses[-1] < losses[0]
    assert {"train/rms/first", "train/wgrad_rel/last/kernel"} < set(scalars)


def test_mup_carries_the_rate_of_the_proxy_to_the_target():
    found = mup_transfer.main()

    assert found["rate"] == min(found["sweep"], key=found["sweep"].get)
    assert found["target"] < min(found["sweep"].values())


def test_torch_weights_are_all_loaded_and_measured():
    variables, report = torch_weights.main()

    kernel = variables["params"]["Dense_0"]["kernel"]
    np.testing.assert_array_equal(kernel, torch_weights.STATE_DICT["net.0.weight"].T)
    norm = np.linalg.norm(torch_weights.STATE_DICT["net.2.weight"])
    place = report.params.index("Dense_1/kernel")
    assert report.weights["weight_norm"][0, place] == pytest.approx(norm, rel=1e-6)


def test_low_rank_starts_at_the_base_model_and_moves_the_adapter_alone():
    found = low_rank.main()

    assert found["unchanged at first"]
    assert not found["kernel moved"]
    assert found["losses"][-1] < found["losses"][0]
    # B starts at zero, so that A gets its first gradient in the second step.
    assert found["statistics"]["wgrad_norm/body/lora/lora_a"] > 0


def test_equinox_is_measured_at_the_start_within_and_after():
    report, scalars, model = equinox_mlp.main()

    norm = np.linalg.norm(model.layers[1].weight)
    place = report.params.index("layers/1/weight")
    assert report.weights["weight_norm"][0, place] == pytest.approx(norm, rel=1e-6)
    assert {f"rms/{name}" for name in report.layers} < set(scalars)


def test_haiku_is_measured_at_the_start_and_within():
    report, scalars = haiku_mlp.main()

    assert {f"rms/{name}" for name in report.layers} < set(scalars)
    assert {f"wgrad_norm/{name}" for name in report.params} < set(scalars)


def test_tensorboard_and_wandb_are_given_every_number(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    with loggers.tensorboard(tmp_path / "tb") as log:
        scalars = loggers.main(log)
    (file,) = (tmp_path / "tb").iterdir()
    written = {}
    for record in records(file.read_bytes()):
        event = Event.FromString(record)
        for value in event.summary.value:
            written[value.tag, event.step] = value.simple_value

    assert {name for name, step in written if step == 1} == set(scalars)
    for name, value in scalars.items():
        assert written[name, 1] == pytest.approx(value, rel=1e-6)
    assert "init/healthy" in {name for name, _ in written}

    # In a process of its own: W&B leaves a service behind that outlives the test.
    code = (
        "import json, sys; from examples.recipes import loggers\n"
        "with loggers.wandb(sys.argv[1]) as log: log(json.loads(sys.argv[2]), 1)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), json.dumps(scalars)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        timeout=120,
        check=True,
    )
    (run,) = tmp_path.rglob("*.wandb")
    kept = run.read_bytes()
    for name, value in scalars.items():
        assert name.encode() in kept
        assert json.dumps(value).encode() in kept


def records(data):
    """The records of a file of TensorBoard events: length, checksums, payload."""
    while data:
        size = int.from_bytes(data[:8], "little")
        yield data[12 : 12 + size]
        data = data[16 + size :]


def test_a_mesh_of_eight_devices_holds_and_watches_its_parameters():
    done = subprocess.run(
        [sys.executable, "-m", "examples.recipes.mesh"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)

    assert found["devices"] == 8
    assert "'model'" in found["kernel"]
    assert found["losses"][-1] < found["losses"][0]
    norms = {k: v for k, v in found["report"].items() if k.startswith("weight_norm")}
    assert norms.keys() <= found["statistics"].keys()
    assert norms["weight_norm/Dense_0/kernel"] > 0


def test_the_test_for_ci_passes_in_a_pytest_of_its_own():
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *("-p", "jaxinit.pytest_plugin", "examples/recipes/healthy_in_ci.py"),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",  # the same, installed or not
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
