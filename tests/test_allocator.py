"""Memory of finished seeds is used again, and handed back afterwards."""

import json

import pytest

from tests.processes import printed

# A large block is taken, written and freed twice; how many pages does that take from
# the system? In a process of its own: what others have freed would be taken here.
SCRIPT = """
import ctypes, json, os, resource
from concurrent.futures import ThreadPoolExecutor
from jaxinit import _allocator
from jaxinit._allocator import keeping_freed_memory

SIZE = 48 * 2**20
libc = _allocator._glibc()
libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]

def share():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(2):
        block = libc.malloc(SIZE)
        ctypes.memset(block, 1, SIZE)
        libc.free(block)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    return (after - before) * resource.getpagesize() / (2 * SIZE)

found = {}
with keeping_freed_memory(2**25):
    found["small"] = share()
os.environ["MALLOC_TRIM_THRESHOLD_"] = "131072"
with keeping_freed_memory(SIZE):
    found["said by the user"] = share()
del os.environ["MALLOC_TRIM_THRESHOLD_"]
with keeping_freed_memory(SIZE):
    share()
    with keeping_freed_memory(SIZE):
        found["within both"] = share()
    found["within"] = share()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(share).result()
        found["in a thread"] = pool.submit(share).result()
found["behind"] = share()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def shares():
    """Of the bytes of two blocks those that the system had to clear, by the place."""
    return json.loads(printed(1, "-c", SCRIPT))


@pytest.mark.parametrize("place", ["within", "within both", "in a thread"])
def test_a_freed_block_is_taken_again(shares, place):
    assert shares[place] < 0.1


@pytest.mark.parametrize("place", ["small", "said by the user", "behind"])
def test_elsewhere_it_is_handed_back(shares, place):
    assert shares[place] > 0.9
