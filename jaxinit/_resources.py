"""What there is to run on: cores and bytes, as far as this process may use them."""

import os
from pathlib import Path

import jax

_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN_MEMORY = 2**32


def cores() -> int:
    """Cores that this process may use: by its affinity and its cgroup's quota."""
    allowed = getattr(os, "sched_getaffinity", None)
    count = len(allowed(0)) if allowed is not None else os.cpu_count() or 1
    quota = _cpu_quota()
    return max(1, count if quota is None else min(count, int(quota)))


def memory(device: jax.Device | None = None) -> int:
    """Bytes of the device's memory; of the host's, or its cgroup's, where it shares it.

    Args:
      device: by default the first local one.
    """
    device = jax.local_devices()[0] if device is None else device
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"])
    limits = [_host_memory(), _cgroup_number("memory.max", _V1_MEMORY)]
    return min((limit for limit in limits if limit), default=_UNKNOWN_MEMORY)


def free_memory(device: jax.Device | None = None) -> int:
    """Bytes of `memory` that nothing occupies now."""
    device = jax.local_devices()[0] if device is None else device
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))
    free = [memory(device)]
    available = _available()
    if available is not None:
        free.append(available)
    limit = _cgroup_number("memory.max", _V1_MEMORY)
    used = _cgroup_number("memory.current", "memory/memory.usage_in_bytes")
    if limit is not None and used is not None:
        free.append(limit - used + _reclaimable())
    return max(min(free), 0)


def budget(device: jax.Device | None = None) -> int:
    """Half of a device's own memory, or a quarter of the host's where it shares it."""
    device = jax.local_devices()[0] if device is None else device
    own = "bytes_limit" in (device.memory_stats() or {})
    return memory(device) // (2 if own else 4)


_V1_MEMORY = "memory/memory.limit_in_bytes"


def _host_memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _available() -> int | None:
    """What Linux says could be had without swapping."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _reclaimable() -> int:
    """Bytes of the cgroup that only cache files, which the kernel drops at need."""
    for folder in _cgroup_folders():
        for line in (_read(folder / "memory.stat") or "").splitlines():
            if line.startswith("inactive_file "):
                return int(line.split()[1])
    return 0


def _cgroup_number(name: str, older: str) -> int | None:
    """A number from this process's cgroup (or one around it), version 2 or 1."""
    paths = [*(folder / name for folder in _cgroup_folders()), _CGROUP / older]
    texts = [text for text in map(_read, paths) if text is not None and text.isdigit()]
    numbers = [int(text) for text in texts if int(text) < 2**60]
    # A limit is the narrowest of those around; of what is used the innermost counts.
    return (
        min(numbers, default=None)
        if name == "memory.max"
        else next(iter(numbers), None)
    )


def _cpu_quota() -> float | None:
    """Cores that the cgroup grants: quota over period."""
    quotas = []
    for folder in _cgroup_folders():
        words = (_read(folder / "cpu.max") or "").split()
        if len(words) == 2 and words[0].isdigit():
            quotas.append(int(words[0]) / int(words[1]))
    if quotas:
        return min(quotas)
    quota = _read(_CGROUP / "cpu/cpu.cfs_quota_us")
    period = _read(_CGROUP / "cpu/cpu.cfs_period_us")
    if quota is not None and period is not None and quota.isdigit():
        return int(quota) / int(period)
    return None


def _cgroup_folders() -> list[Path]:
    """This process's cgroup and those around it, the innermost first."""
    text = _read(Path("/proc/self/cgroup")) or ""
    for line in text.splitlines():
        if line.startswith("0::"):
            own = _CGROUP / line[3:].lstrip("/")
            inside = [own, *own.parents]
            return [p for p in inside if p == _CGROUP or _CGROUP in p.parents]
    return [_CGROUP]


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
