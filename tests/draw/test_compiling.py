"""How hard the compiler tries, by how much there is to run."""

from types import SimpleNamespace

from jaxinit.draw.compiling import quick_options


def level(*, fan_in, shape, passes, length=1):
    """LLVM's level of optimization for a model of one layer; ``None`` for XLA's own."""
    event = SimpleNamespace(
        loops=[SimpleNamespace(length=length)],
        uses=[SimpleNamespace(fan_in=fan_in)],
        shape=shape,
    )
    options = quick_options(SimpleNamespace(events=[event]), passes)
    return options and options["xla_backend_optimization_level"]


def test_the_longer_the_run_the_harder_the_compiler_tries():
    assert level(fan_in=64, shape=(32, 64), passes=24) == 0  # 6e6 operations
    assert level(fan_in=256, shape=(64, 256), passes=240) == 1  # 2e9
    assert level(fan_in=2**12, shape=(2**10, 2**12), passes=10**4) is None  # 3e14


def test_every_step_of_a_loop_counts():
    assert level(fan_in=64, shape=(32, 64), passes=24, length=1) == 0
    assert level(fan_in=64, shape=(32, 64), passes=24, length=1000) == 1
