"""Seeds over the processes of ``jax.distributed``: each runs a share, all know all."""

import itertools
from collections.abc import Sequence

import jax
import numpy as np

from jaxinit.program import versions

# Processes call `analyze` in the same order, so their counts agree.
_exchanges = itertools.count()
# Seconds: a month. A process that dies is noticed by its heart, not by this.
_LONGEST = 30 * 24 * 3600.0


def is_mine(place: int) -> bool:
    """Whether this process runs the seed at ``place`` of the plan."""
    return bool(place % jax.process_count() == jax.process_index())


def exchanged(
    places: Sequence[int], records: Sequence[np.ndarray], total: int
) -> tuple[list[int], list[np.ndarray]]:
    """The finished seeds of all processes, bit for bit.

    Args:
      places: in the plan, of the seeds that this process has run.
      records: arrays of them, each with a leading axis over these seeds.
      total: seeds in the plan.

    Returns:
      The places of all that any process has run, and their records.

    Raises:
      RuntimeError: if another process has ended.
    """
    from jax.experimental.multihost_utils import process_allgather

    most = -(-total // jax.process_count())
    there = np.full(most, -1, np.int32)
    there[: len(places)] = places
    parts = [there.view(np.uint8)]
    for array in records:
        padded = np.zeros((most, *array.shape[1:]), array.dtype)
        padded[: len(array)] = array
        parts.append(padded.reshape(-1).view(np.uint8))
    ends = np.cumsum([part.size for part in parts])
    try:
        versions.wait_for_processes(f"jaxinit {next(_exchanges)}", _LONGEST)
        found = np.asarray(process_allgather(np.concatenate(parts)))
    except (jax.errors.JaxRuntimeError, ValueError) as error:
        raise RuntimeError(
            f"process {jax.process_index()} of {jax.process_count()} has run its "
            f"{len(places)} seeds and could not exchange them with the others: one of "
            "them has ended or cannot be reached. Its own log says why; with "
            "`checkpoint=` the same call goes on from what each has finished."
        ) from error
    everybody = np.ascontiguousarray(found[:, : ends[0]]).view(np.int32).reshape(-1)
    ran = everybody >= 0
    arrays = []
    for part, start, stop in zip(records, ends[:-1], ends[1:], strict=True):
        bits = np.ascontiguousarray(found[:, start:stop]).view(part.dtype)
        arrays.append(bits.reshape(-1, *part.shape[1:])[ran])
    return [int(place) for place in everybody[ran]], arrays
