import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinit
from jaxinit.report.findings import KINDS, Finding
from jaxinit.verdict.given_weights import keeping
from jaxinit.verdict.judge import judge, judged, remarks
from tests.report.synthetic import dense_rows, make_report, row, walk


def kinds(report):
    return [finding.kind for finding in judge(report)]


def only(report):
    (finding,) = judge(report)
    return finding


def lecun_relu(num_seeds=16, **options):
    # Second moments halve per layer, and so do squared gradients towards the input.
    return make_report(
        dense_rows(20),
        log2_moment=walk(num_seeds, 20, drift=-1.0, step=0.14, seed=1),
        log2_grad=-9.5 + walk(num_seeds, 20, drift=0.5, step=0.07, seed=2),
        num_seeds=num_seeds,
        **options,
    )


def test_relu_at_lecun_scale_vanishes_by_one_bit_per_layer():
    signal, gradient = judge(lecun_relu())

    assert signal.kind == gradient.kind == "vanishing"
    assert signal.metric == "second_moment"
    # 16 walks of step 0.14: the mean slope has deviation 0.14 sqrt(1.2 / 20 / 16).
    assert signal.value == pytest.approx(-1.0, abs=5 * 0.0086)
    assert 0.004 < signal.stderr < 0.02
    assert signal.seed_share == 1.0
    # 2^-7 is the first power below a hundredth.
    assert signal.row == "Dense_7"
    assert signal.remedy == "kernel_init=jaxinit.he_normal()"
    # Without the readout.
    assert "over 19 layers" in signal.message
    assert gradient.metric == "grad_rms"
    # Growth in the direction of flow, here towards the input, is positive.
    assert gradient.value == pytest.approx(-0.5, abs=5 * 0.0043)
    # Seven layers before the last hidden one, 2^-3.5 = 0.088.
    assert gradient.row == "Dense_11"


def test_theory_names_the_variance_of_the_kernels():
    depth = np.arange(12.0)
    report = make_report(dense_rows(12), log2_moment=-depth, log2_grad=0.5 * depth)

    for finding in judge(report):
        assert "kernels of variance 1.00/fan_in" in finding.message


def test_theory_speaks_of_the_mean_over_seeds():
    # Width 64: the median falls by exp(-5 / 128) per layer more than the mean does.
    n = 64
    walks = walk(256, 20, drift=-1 - 2.5 / n / math.log(2), step=0.403, seed=3)
    report = make_report(dense_rows(20), log2_moment=walks, num_seeds=256)
    message = judge(report)[0].message
    scale = float(message.split("variance ")[1].split("/")[0])

    # Without the correction 0.962. The slope's error is 0.403 sqrt(1.2 / 20 / 256)
    # bits, 0.4%, and that of the variance's growth, 9% of 0.039, as much again.
    assert scale == pytest.approx(1.0, abs=0.02)


def test_narrow_he_nets_vanish_for_the_typical_seed_only():
    # Width 4: second moments keep their mean, 5/4 nats^2 of variance per layer.
    step = math.sqrt(5 / 4) / math.log(2)
    walks = walk(64, 30, drift=-2.5 / 4 / math.log(2), step=step, seed=4)
    vanishing, unstable = judge(
        make_report(dense_rows(30, width=4), log2_moment=walks, num_seeds=64)
    )

    assert (vanishing.kind, unstable.kind) == ("vanishing", "seed-unstable")
    assert "The mean over seeds is kept" in vanishing.message
    assert "wider layers" in vanishing.remedy
    assert vanishing.remedy == unstable.remedy


def test_a_mean_that_falls_less_than_the_typical_seed_is_not_said_to_be_kept():
    # Width 4 again, and kernels of 0.66 of He's variance: 2^-0.6 per layer.
    step, drift = math.sqrt(5 / 4) / math.log(2), -2.5 / 4 / math.log(2) - 0.6
    walks = walk(256, 30, drift=drift, step=step, seed=5)
    message = judge(
        make_report(dense_rows(30, width=4), log2_moment=walks, num_seeds=256)
    )[0].message

    assert "is kept" not in message
    said = message.split("The mean over seeds falls by a factor of ")[1]
    # The error is 0.9 sqrt(2 / 255) = 0.08 and, of the slope, 0.02 bits per layer.
    bits = math.log2(float(said.split(" in all; the rest is")[0]))
    assert bits == pytest.approx(0.6 * 28, abs=3 * 0.083 * 28)


def test_a_stack_that_falls_with_its_mean_is_not_said_to_keep_it():
    # From 1.0 to 0.006 in seven layers: LeCun's law, on narrow layers.
    walks = walk(16, 8, drift=-1 - 2.5 / 16 / math.log(2), step=0.8, seed=6)
    finding = judge(make_report(dense_rows(8, width=16), log2_moment=walks))[0]

    assert finding.kind == "vanishing"
    assert "The mean over seeds" not in finding.message
    assert finding.remedy == "kernel_init=jaxinit.he_normal()"


def test_theory_is_silent_about_residual_nets():
    rows = dense_rows(12)
    join = row("Block+", "add", kind="join", activation=None)
    report = make_report((*rows, join), log2_moment=-np.arange(13.0))

    assert "kernels of variance" not in judge(report)[0].message


def test_chaotic_tanh_explodes_backwards():
    # tanh at sigma_w^2 = 4: chi_1 = 1.3424 per layer, the signal stays at its fixed
    # point (analyzer's table of mean-field values).
    bits = 0.5 * math.log2(1.3424)
    report = make_report(
        dense_rows(50, activation="tanh"),
        log2_moment=1.13 + walk(16, 50, drift=0.0, step=0.02, seed=1),
        log2_grad=walk(16, 50, drift=-bits, step=0.05, seed=2),
    )
    finding = only(report)

    assert finding.kind == "exploding"
    assert finding.metric == "grad_rms"
    assert finding.value == pytest.approx(bits, abs=5 * 0.0025)
    assert finding.remedy.startswith("kernel_init=jaxinit.orthogonal(1.0)")
    # 2^(0.2124 l) passes ten 15.6 layers before the last, up to the walk.
    assert finding.row in {f"Dense_{i}" for i in range(31, 36)}


@pytest.mark.parametrize(
    ("activation", "remedy"),
    [
        ("relu", "jaxinit.he_normal()"),
        ("selu", "jaxinit.lecun_normal()"),
        ("tanh", "jaxinit.orthogonal(jaxinit.calculate_gain(jnp.tanh))"),
        ("gelu", "jaxinit.orthogonal(jaxinit.calculate_gain(jax.nn.gelu))"),
        ("silu", "jaxinit.orthogonal(jaxinit.calculate_gain(jax.nn.silu))"),
        ("logistic", "jaxinit.orthogonal(jaxinit.calculate_gain(jax.nn.sigmoid))"),
        ("frobnicate", "'frobnicate' is not one whose gain is known"),
        (None, "no activation was recognized"),
    ],
)
def test_remedy_follows_the_activation(activation, remedy):
    rows = dense_rows(12, activation=activation)

    assert (
        remedy in judge(make_report(rows, log2_moment=-2 * np.arange(12.0)))[0].remedy
    )


def test_a_healthy_stream_is_told_from_the_layers():
    rows, curve = [], []
    for i in range(6):
        rows += [row(f"Block_{i}/Dense_{j}") for j in range(2)]
        join = row(f"Block_{i}+", "add", kind="join", params=(), activation=None)
        rows += [join._replace(skip=("x",), branch=(f"Block_{i}/Dense_1",))]
        curve += [0.0, 0.0, 0.2 * i]
    fields = {"log2_moment": np.array(curve), "evidence": {"params": {}}}
    message = only(make_report(tuple(rows), **fields)).message

    assert "The second moment changes by a factor of 1.0" in message
    assert "the second moment of the stream changes by a factor of 1.1" in message


def test_residual_stream_that_doubles_per_block():
    rows, curve = [], []
    for i in range(10):
        rows += [row(f"Block_{i}/Dense_0"), row(f"Block_{i}/Dense_1")]
        rows += [row(f"Block_{i}+", "add", kind="join", params=(), activation=None)]
        curve += [i + 1.0, i + 1.0, i + 1.0]
    finding = only(make_report(tuple(rows), log2_moment=np.array(curve)))

    assert finding.kind == "exploding"
    assert finding.value == pytest.approx(0.5, abs=0.01)
    assert '"fan_in", "normal")' in finding.remedy
    assert "variance_scaling(0.1," in finding.remedy
    # The fitted line passes a factor of 100 after 13 layers, in block 6 or 7.
    assert finding.row.split("/")[0] in {"Block_6", "Block_7"}


def test_exploding_through_norms_asks_for_skips():
    # Batch norm: squared gradients grow by pi / (pi - 1) per layer (Yang et al. 2019).
    rows = []
    for i in range(30):
        rows += [row(f"Dense_{i}", activation=None), row(f"BatchNorm_{i}", "mul")]
    curve = -0.5 * math.log2(math.pi / (math.pi - 1)) * np.repeat(np.arange(30.0), 2)
    finding = only(make_report(tuple(rows), log2_grad=curve))

    assert finding.kind == "exploding"
    # Per weight layer; the norms between them do not count.
    assert finding.value == pytest.approx(0.5 * math.log2(math.pi / (math.pi - 1)))
    assert "skip connections" in finding.remedy


def healthy_he_mlp():
    # Walks of step sqrt(5/n)/ln 2 in log2 of the second moment, n = 256.
    step = math.sqrt(5 / 256) / math.log(2)
    return make_report(
        dense_rows(30),
        log2_moment=walk(16, 30, drift=0.0, step=step, seed=3),
        log2_grad=walk(16, 30, drift=0.0, step=step / 2, seed=4),
    )


def healthy_gpt():
    # Layers of one block: q, k, v at 0 bits, attention's output low, both MLP layers.
    rows, curve, grads = [], [], []
    for i in range(12):
        block = f"Block_{i}"
        rows.append(row(f"{block}/LayerNorm_0", "mul", activation=None))
        rows += [row(f"{block}/Attn/{n}", activation=None) for n in "qkvo"]
        rows.append(row(f"{block}/LayerNorm_1", "mul", activation=None))
        rows.append(row(f"{block}/fc1", width=1024, activation="gelu"))
        rows.append(row(f"{block}/fc2", activation=None))
        curve += [0, 0.2, 0.2, 0.2, -5, 0, 0.3, -1.5]
        # Behind norms of a stream that grows linearly gradients fall like 1/sqrt(l).
        fall = -0.5 * math.log2(i + 1)
        grads += [fall + g for g in (0, -9, -9, -2, 0, 0, -1, 0)]
    rng = np.random.default_rng(5)
    return make_report(
        tuple(rows),
        log2_moment=np.array(curve) + 0.1 * rng.standard_normal((16, 96)),
        log2_grad=np.array(grads) + 0.1 * rng.standard_normal((16, 96)),
    )


def healthy_resnet():
    # Four stages of two blocks; pooling and stride shrink the gradient per value, and
    # the stream grows within each stage.
    rows, curve, grads = [], [], []
    for stage in range(4):
        side, width = 32 >> stage, 64 << stage
        for block in range(2):
            name = f"Block_{2 * stage + block}"
            for j, bits in enumerate((math.log2(block + 1), 0.0)):
                shape = (8, side, side, width)
                rows.append(
                    row(f"{name}/Conv_{j}", "conv_general_dilated", shape=shape)
                )
                rows.append(row(f"{name}/Norm_{j}", "mul", shape=shape))
                curve += [bits, 0.0]
                # Norm preserved: the rms grows as the tensors shrink, less 1/2 bit
                # per stage for the width.
                grads += [-0.5 * math.log2(math.prod(shape)) - 0.2 * stage] * 2
    rows.append(row("Dense_0", shape=(8, 10), activation=None))
    curve.append(0.0)
    grads.append(0.0)
    rng = np.random.default_rng(6)
    return make_report(
        tuple(rows),
        log2_moment=np.array(curve) + 0.05 * rng.standard_normal((16, len(rows))),
        log2_grad=np.array(grads) + 0.05 * rng.standard_normal((16, len(rows))),
    )


def shallow_lecun_mlp():
    # Three layers lose two bits: any optimizer repairs that.
    return make_report(
        dense_rows(3),
        log2_moment=walk(16, 3, drift=-1.0, step=0.1, seed=7),
        log2_grad=walk(16, 3, drift=0.5, step=0.1, seed=8),
    )


def healthy_vgg():
    # Each pooling quarters the positions: the gradient's norm stays, its rms grows.
    sides = [224, 224, 112, 112, 56, 56, 28, 28, 14, 14, 7, 7, 1]
    rows = tuple(
        row(f"Conv_{i}", "conv_general_dilated", shape=(2, s, s, 64))
        for i, s in enumerate(sides)
    )
    grads = np.array([-math.log2(s) for s in sides])
    return make_report(rows, log2_grad=grads + walk(16, 13, drift=0.0, step=0.05))


def healthy_branches():
    # Two branches of cond: what a seed skips is NaN there.
    report = make_report(dense_rows(6))
    for i, skipped in ((2, slice(0, 9)), (3, slice(9, 16))):
        for metrics in (report.forward, report.backward):
            for values in metrics.values():
                values[skipped, i] = np.nan
    return report


def healthy_u_net():
    # Down to a narrow middle and up again, with skips: no direction at all.
    widths = [16, 32, 64, 128, 128, 64, 32, 16, 3]
    sides = [32, 16, 8, 4, 4, 8, 16, 32, 32]
    rows = tuple(
        row(f"Conv_{i}", "conv_general_dilated", shape=(4, s, s, w), activation="silu")
        for i, (w, s) in enumerate(zip(widths, sides, strict=True))
    )
    return make_report(
        rows,
        log2_moment=np.array([0, -1.5, -3, -3, -3.5, -2, -1.5, -1, -2.0]),
        log2_grad=np.array([-3, -2.5, -2, -1.5, -1.5, -2, -2, -1.5, 0.0]),
    )


def healthy_lstm():
    rows = tuple(
        row(f"LSTM/{gate}{part}", activation=None, steps=12, samples=768)
        for part in ("i", "h")
        for gate in "ifgo"
    )
    curve = np.array([0, 0.1, 0, 0, -4, -4, -4, -4.0])
    return make_report(rows, log2_moment=curve, log2_grad=np.array([-6.0] * 8))


def healthy_vae():
    widths = [400, 20, 20, 400, 784]
    rows = tuple(
        row(f"Dense_{i}", width=w, activation="relu" if w == 400 else None)
        for i, w in enumerate(widths)
    )
    rng = np.random.default_rng(9)
    # The few channels of the code vary by sqrt(2/20) / ln 2 bits of themselves.
    return make_report(
        rows,
        log2_moment=np.array([0, -1, -1, 0, -1.0]) + 0.45 * rng.normal(size=(16, 5)),
        log2_grad=np.array([-5.5, -3.5, -7.5, -5, 0.0]),
    )


@pytest.mark.parametrize(
    "make",
    [
        healthy_he_mlp,
        healthy_gpt,
        healthy_resnet,
        healthy_vgg,
        healthy_branches,
        shallow_lecun_mlp,
        healthy_u_net,
        healthy_lstm,
        healthy_vae,
    ],
)
def test_healthy_models_are_ok(make):
    finding = only(make())

    assert finding.kind == "ok", str(finding)
    assert "second moment" in finding.message.lower()


def test_false_alarms_are_rarer_than_one_in_a_hundred():
    # A walk without drift, one seed included: at depth 50 and width 100.
    step = math.sqrt(5 / 100) / math.log(2)
    alarms = 0
    for i in range(200):
        num_seeds = (1, 2, 4, 7)[i % 4]
        report = make_report(
            dense_rows(50),
            log2_moment=walk(num_seeds, 50, drift=0.0, step=step, seed=i),
            num_seeds=num_seeds,
        )
        alarms += kinds(report) != ["ok"]
    assert alarms <= 2


def test_one_seed_is_enough_for_a_steep_slope():
    assert kinds(lecun_relu(num_seeds=1)) == ["vanishing", "vanishing"]


def test_three_layers_of_unit_normal_kernels_explode():
    # Width 256 under ReLU: each layer multiplies the second moment by 128.
    report = make_report(dense_rows(3), log2_moment=8 + 7 * np.arange(3.0))

    assert kinds(report) == ["exploding"]


def test_a_tame_readout_does_not_hide_an_explosion():
    # The same kernels, and a readout at LeCun's scale.
    bits = np.array([6.0, 12.0, 18.0, 17.0])
    finding = only(make_report(dense_rows(4), log2_moment=bits))

    assert finding.kind == "exploding"
    assert finding.value == pytest.approx(6.0)


def test_two_layers_are_judged_by_their_size():
    finding = only(make_report(dense_rows(2), log2_moment=np.array([0.0, 24.0])))

    assert finding.kind == "exploding"
    assert finding.row == "Dense_1"
    assert finding.value == pytest.approx(4096.0)
    assert "4096" in finding.message


def test_two_tame_layers_are_ok_and_say_why():
    finding = only(make_report(dense_rows(2), log2_moment=np.array([0.0, 1.0])))

    assert finding.kind == "ok"
    assert "(2 layers: too few for a slope)" in finding.message


def test_gradients_of_1e_25_are_vanishing_numbers_not_zeros():
    curve = np.linspace(math.log2(1e-25), 0.0, 20)
    finding = only(make_report(dense_rows(20), log2_grad=curve))

    assert finding.kind == "vanishing"
    assert finding.value == pytest.approx(-math.log2(1e25) / 19)
    assert "exactly zero" not in finding.message


def test_true_zero_gradients_without_a_cause():
    report = make_report(dense_rows(4))
    report.backward["grad_rms"][:, :2] = 0.0
    finding = only(report)

    assert finding.kind == "vanishing"
    assert finding.value == 0.0
    # Seen from the output, the second layer is where it starts.
    assert finding.row == "Dense_1"
    assert "a true zero" in finding.message


def zero_branch():
    """A residual block whose last norm has scale zero, as in ResNet recipes."""
    rows = (
        row("stem"),
        row("Block_0/Conv_0"),
        row("Block_0/Norm_1", "mul", params=("Block_0/Norm_1/scale",)),
        row("Block_0+", "add", kind="join", params=(), activation=None),
        row("head", activation=None),
    )
    report = make_report(rows)
    for name in ("second_moment", "rms", "absmax"):
        report.forward[name][:, 2] = 0.0
    report.weights["weight_norm"][:, 2] = 0.0
    report.backward["grad_rms"][:, 1] = 0.0
    return report


def test_zero_by_initialization_is_a_note():
    report = zero_branch()

    assert kinds(report) == ["ok"]
    (note,) = remarks(report)
    assert note.startswith("Zero by initialization: Block_0/Norm_1.")


def test_zero_output_with_weights_is_a_finding():
    report = zero_branch()
    report.weights["weight_norm"][:, 2] = 1.0
    finding = only(report)

    assert finding.kind == "dead"
    assert finding.row == "Block_0/Norm_1"
    assert "though its weights are not" in finding.message
    assert remarks(report) == ()


def test_a_zero_bias_explains_nothing():
    report = zero_branch()
    rows = list(report.rows)
    rows[2] = rows[2]._replace(params=("Block_0/Norm_1/bias",))
    other = make_report(tuple(rows), weights=report.weights)
    other.forward["second_moment"][:, 2] = 0.0

    assert kinds(other) == ["dead"]


def test_batch_of_one_under_batch_norm():
    rows = (row("Dense_0"), row("BatchNorm_0", "mul"), row("Dense_1"))
    report = make_report(rows, settings={"batch_size": 1})
    report.forward["second_moment"][:, 1:] = 0.0
    report.backward["grad_rms"][:, 0] = 0.0
    finding = only(report)

    assert finding.kind == "dead"
    assert finding.row == "BatchNorm_0"
    assert "one sample" in finding.message
    assert finding.remedy == "analyze with a batch of at least 2 samples"


def test_kernels_that_are_all_zero():
    report = make_report(dense_rows(4))
    report.forward["second_moment"][:] = 0.0
    report.weights["weight_norm"][:] = 0.0
    report.backward["grad_rms"][:, :3] = 0.0
    finding = only(report)

    assert finding.kind == "dead"
    assert finding.row == "Dense_0"
    assert "nothing can learn" in finding.message


def test_zero_readout_is_a_note():
    report = make_report(dense_rows(4))
    report.forward["second_moment"][:, 3] = 0.0
    report.weights["weight_norm"][:, 3] = 0.0
    report.backward["grad_rms"][:, :3] = 0.0

    assert kinds(report) == ["ok"]
    assert "Dense_3" in remarks(report)[0]


@pytest.mark.parametrize(("share", "kind"), [(0.9, "dead"), (0.5, "ok")])
def test_dead_layer(share, kind):
    dead = np.zeros((16, 6))
    dead[:10, 2] = share
    finding = only(make_report(dense_rows(6), forward={"dead": dead}))

    assert finding.kind == kind
    if kind == "dead":
        assert finding.row == "Dense_2"
        assert finding.seed_share == 10 / 16
        assert finding.value == 0.9
        assert "N = 4096" in finding.message


def test_born_dead_seeds():
    dead = np.zeros((16, 6))
    dead[:2, 2] = 1.0
    finding = only(make_report(dense_rows(6), forward={"dead": dead}))

    assert finding.kind == "dead"
    assert finding.seed_share == 2 / 16
    assert "all of the channels" in finding.message


def test_zeros_behind_a_dead_layer_are_its_echo():
    report = make_report(dense_rows(6))
    report.forward["dead"][:, 2] = 1.0
    report.forward["second_moment"][:, 3:] = 0.0
    report.backward["grad_rms"][:, :3] = 0.0
    finding = only(report)

    assert (finding.kind, finding.row) == ("dead", "Dense_2")


def test_dead_says_nothing_at_few_samples():
    # With 2 values a unit that is alive half of the time looks dead one time in four.
    rows = dense_rows(6, samples=2)
    report = make_report(rows, forward={"dead": np.ones((16, 6))})

    assert kinds(report) == ["ok"]
    assert "fewer than 8 values per channel" in remarks(report)[0]


def test_non_finite_names_the_first_layer_and_the_seeds():
    report = make_report(dense_rows(8))
    report.forward["frac_nonfinite"][3, 5:] = 0.5
    report.forward["second_moment"][3, 5:] = np.nan
    finding = only(report)

    assert finding.kind == "non-finite"
    assert finding.row == "Dense_5"
    assert finding.seed_share == 1 / 16
    assert "6% of the seeds" in finding.message


def test_non_finite_input_is_named_first():
    report = make_report(dense_rows(3))
    report.forward["frac_nonfinite"][:] = 1.0
    report.forward["second_moment"][:] = np.nan
    report.backward["grad_rms"][:] = np.nan
    finding = only(report)

    assert finding.kind == "non-finite"
    assert finding.row == "Dense_0"
    assert "isfinite(x)" in finding.remedy


def test_gradient_that_overflows_is_seen_from_the_output():
    report = make_report(dense_rows(6))
    report.backward["grad_rms"][:, 1] = np.inf
    report.backward["grad_rms"][2:, 0] = np.nan
    finding = only(report)

    assert finding.kind == "non-finite"
    assert (finding.metric, finding.row) == ("grad_rms", "Dense_1")


def test_gradients_that_are_cut_are_no_silent_pass():
    # A stop_gradient after Dense_3: nothing is defined before it.
    report = make_report(dense_rows(6))
    report.backward["grad_rms"][:, :4] = np.nan
    finding = only(report)

    assert finding.kind == "vanishing"
    assert finding.row == "Dense_3"
    assert "No gradient reaches Dense_3, Dense_2, Dense_1, Dense_0" in finding.message


def test_saturated_tanh():
    # rms 8: P(|z| > 2.993 / 8) = 71% of normal values have less than 1% of the slope.
    rows = dense_rows(4, activation="tanh")
    finding = only(make_report(rows, log2_moment=6.0))

    assert finding.kind == "saturated"
    assert finding.value == pytest.approx(0.7083, abs=1e-3)
    assert "jnp.tanh" in finding.remedy


def test_chaotic_tanh_is_not_saturated():
    rows = dense_rows(4, activation="tanh")

    assert kinds(make_report(rows, log2_moment=math.log2(2.2))) == ["ok"]


def test_rank_collapse():
    # The ordered phase of tanh: 1 - c falls like exp(-l / 3.63).
    cos = 1 - 0.9 * np.exp(-np.arange(40) / 3.63) + np.zeros((16, 40))
    rows = dense_rows(40, activation="tanh")
    finding = only(make_report(rows, forward={"cos": cos}))

    assert finding.kind == "rank-collapsed"
    # 0.9 exp(-l / 3.63) passes 1e-3 at l = 24.7.
    assert finding.row == "Dense_25"


def test_relu_correlation_is_no_collapse():
    # (1 - c) l^2 -> 44.4: 0.018 at 50 layers.
    cos = 1 - np.minimum(1.0, 44.4 / (np.arange(50) + 6.7) ** 2) + np.zeros((16, 50))

    assert kinds(make_report(dense_rows(50), forward={"cos": cos})) == ["ok"]


@pytest.mark.parametrize(
    ("dtype", "bits", "word"),
    [("float16", 27.0, "largest"), ("float16", -30.0, "least normal")],
)
def test_dtype_range(dtype, bits, word):
    # absmax is 4 rms here: 4 * 2^13.5 = 46341 of 65504; 2^-15 is below 2^-14.
    finding = judge(make_report(dense_rows(2, dtype=dtype), log2_moment=bits))[-1]

    assert finding.kind == "dtype-range"
    assert word in finding.message


def test_the_same_values_fit_into_bfloat16():
    report = make_report(dense_rows(2, dtype="bfloat16"), log2_moment=-30.0)

    assert "dtype-range" not in kinds(report)


def test_seed_unstable():
    # Deviation 0.8 decades in the second moment, from layer 4 on.
    rng = np.random.default_rng(11)
    noise = np.zeros((64, 8))
    noise[:, 4:] = 0.8 * rng.standard_normal((64, 1)) / math.log10(2)
    finding = only(make_report(dense_rows(8), log2_moment=noise, num_seeds=64))

    assert finding.kind == "seed-unstable"
    assert finding.row == "Dense_4"
    assert finding.value == pytest.approx(0.8, abs=5 * 0.8 / math.sqrt(126))


@pytest.mark.parametrize("shape", [(4096, 1), (1, 4096)])  # channels last, first
def test_one_channel_may_vary(shape):
    # The square of one normal has a log10 deviation of pi / sqrt(2) / ln 10 = 0.965.
    rng = np.random.default_rng(12)
    rows = (*dense_rows(3), row("value", shape=shape, activation=None))
    bits = np.zeros((64, 4))
    bits[:, 3] = np.log2(rng.standard_normal(64) ** 2)

    assert kinds(make_report(rows, log2_moment=bits, num_seeds=64)) == ["ok"]


def test_a_probe_of_one_number_may_vary():
    def critic(params, x):
        return jnp.tanh(x @ params["in"]) @ params["out"]

    def init(key, x):
        one, two = jax.random.split(key)
        draw = jaxinit.lecun_normal()
        return {"in": draw(one, (8, 256)), "out": draw(two, (256, 1))}

    one_sample = jax.random.normal(jax.random.key(1), (1, 8))
    report = jaxinit.analyze(jaxinit.Functional(init, critic), one_sample, seeds=32)

    assert report.verdict == "ok"


def test_seeds_needed_for_ten_percent():
    # 16 values of deviation 0.495 in the natural logarithm: 4.95^2 = 24.5.
    noise = np.resize([1.0, -1.0], 16) * 0.495 * math.sqrt(15 / 16) / math.log(2)
    bits = np.stack([np.zeros(16), noise], axis=1)
    (note,) = remarks(make_report(dense_rows(2), log2_moment=bits))

    assert "10% takes 25 seeds" in note
    # exp(0.495 / 4) - 1
    assert "standard error of 13%" in note


def test_nothing_to_judge_is_unknown():
    assert kinds(make_report(())) == ["unknown"]
    taps = (row("x", "tap", kind="tap"),)
    assert kinds(make_report(taps)) == ["unknown"]


def test_undefined_everywhere_is_unknown():
    report = make_report(dense_rows(5), log2_moment=np.nan)
    finding = only(report)

    assert finding.kind == "unknown"
    assert "second_moment has no finite value" in finding.message


def test_without_gradients_ok_says_so():
    finding = only(make_report(dense_rows(5), log2_grad=None))

    assert finding.kind == "ok"
    assert "gradients were not measured" in finding.message


def test_judged_adds_findings_and_notes():
    report = judged(zero_branch())

    assert report.verdict == "ok"
    assert report.notes[-1].startswith("Zero by initialization")


def test_most_severe_first():
    report = lecun_relu()
    report.forward["frac_nonfinite"][0, 19] = 1.0
    order = [KINDS.index(kind) for kind in kinds(report)]

    assert order == sorted(order)
    assert kinds(report)[0] == "non-finite"


def test_two_seeds_of_a_narrow_net_are_too_few():
    # Width 4 over 40 layers: the log has a variance of 5/4 per layer, 50 in all.
    rows = dense_rows(40, width=4)
    finding = only(make_report(rows, log2_moment=0.0, num_seeds=2))

    assert finding.kind == "too-few-seeds"
    assert finding.value == pytest.approx(math.sqrt(5 / 4 * 39 / 2), rel=0.02)
    assert "cannot be told" in finding.message
    assert "seeds=256" in finding.remedy
    # Wide ones, or eight seeds, are enough.
    assert kinds(make_report(dense_rows(40), num_seeds=2)) == ["ok"]
    assert kinds(make_report(rows, num_seeds=8)) == ["ok"]


def test_outputs_that_are_undefined_are_a_finding_though_gradients_are_finite():
    x = jax.random.normal(jax.random.key(0), (16, 8))
    model = jaxinit.Functional(
        lambda key, x: {"w": jax.random.normal(key, (8, 4)) / 3},
        lambda p, x: jnp.log(x @ p["w"]),
    )
    report = jaxinit.analyze(model, x, seeds=2, remedies="none")
    finding = report.findings[0]

    assert (finding.kind, finding.row) == ("non-finite", "w")
    assert "The model's output holds NaN or infinity; it comes from a logarithm" in (
        finding.message
    )
    assert 0.2 < report.evidence["undefined"] < 0.8


def test_a_module_that_holds_one_set_of_weights_is_told_how_to_get_more():
    rows, settings = dense_rows(40, width=4), {"weights": "present"}
    finding = only(make_report(rows, num_seeds=1, settings=settings))

    assert finding.kind == "too-few-seeds"
    assert finding.remedy.startswith("jaxinit.analyze(lambda rngs: Net(rngs=rngs), x, ")


@pytest.mark.parametrize(
    ("kind", "metric", "role", "instead"),
    [
        ("symmetric", "units", "weight", "w + 0.01 * jax.random.normal(key, w.shape)"),
        ("trapped", "wgrad_norm", "gain", "parts what is equal or zero, and keeps"),
        ("dead", "second_moment", "weight", "w + 0.01 * jax.random.normal"),
        ("dead", "dead", "weight", "nn.leaky_relu(x)  # at Dense_0: dead units learn"),
        ("saturated", "slope", "weight", "z = nn.LayerNorm()(z)  # behind Dense_0, in"),
        ("saturated", "softmax", "query", "q, k = nn.RMSNorm()(q), nn.RMSNorm()(k)"),
        ("rank-collapsed", "cos", "weight", "skips keep samples apart, and the wei"),
        ("non-finite", "grad_rms", "weight", "which of the given weights are not"),
        ("vanishing", "second_moment", "weight", "would discard the training"),
        ("exploding", "grad_rms", "weight", "optax.clip_by_global_norm(1.0)"),
        ("vanishing", "grad_rms", "weight", "optax.adam(1e-3)"),
        ("time-vanishing", "grad_rms", "forget_gate_bias", "b + 1.0  # the forget"),
        ("time-exploding", "grad_rms", "recurrent", "as learned, at a radius of 1"),
        ("time-vanishing", "grad_rms", "weight", "a ** 0.1  # the decays of the"),
        ("time-exploding", "grad_rms", "weight", "optax.clip_by_global_norm(1.0)"),
    ],
)
def test_given_weights_are_not_drawn_anew(kind, metric, role, instead):
    params = {"Dense_0/kernel": {"roles": [role]}}
    report = make_report(dense_rows(2), evidence={"params": params})
    drawn = "kernel_init=jaxinit.he_normal()"
    finding = Finding(kind, metric, "Dense_0", 1.0, 0.0, math.nan, "", drawn)

    assert instead in keeping(report, finding).remedy
    other = finding._replace(remedy="jnp.sqrt(s + 1e-6)  # behind Dense_0")
    assert keeping(report, other) == other


def test_of_given_weights_nothing_is_asked_that_only_draws_answer():
    given = {"weights": "given"}
    rows = dense_rows(40, width=4)
    assert kinds(make_report(rows, num_seeds=2, settings=given)) == ["ok"]

    # Few sets that differ: no sample of anything.
    unlike = walk(16, 40, drift=0.0, step=0.8, seed=7)
    drawn = make_report(dense_rows(40), log2_moment=unlike)
    same = make_report(dense_rows(40), log2_moment=unlike, settings=given)
    assert "seed-unstable" in kinds(drawn)
    assert kinds(same) == ["ok"]
    assert any("standard error" in note for note in remarks(drawn))
    assert not any("standard error" in note for note in remarks(same))

    (finding,) = judge(make_report(dense_rows(20), log2_moment=-np.arange(20.0)))[:1]
    (kept,) = judge(
        make_report(dense_rows(20), log2_moment=-np.arange(20.0), settings=given)
    )[:1]
    assert kept == finding._replace(remedy=kept.remedy)
    assert "a new initializer would discard the training" in kept.remedy
