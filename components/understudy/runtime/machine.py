"""Measure what this process may use of the machine; a pod with a CPU limit sees all of its node's cores."""

import math
import os
import platform
from pathlib import Path

CPU_INFO = Path("/proc/cpuinfo")
CPU_LIMIT = Path("/sys/fs/cgroup/cpu.max")
ACCELERATOR = "UNDERSTUDY_ACCELERATOR"  # names what a pod was given besides CPUs, such as nvidia.com/gpu


def cores() -> int:
    """Count the cores that this process may use: its affinity, and no more than the control group's limit, rounded up.

    Source: the Linux kernel's documentation of control groups, version 2, "cpu.max".
    """
    allowed = len(os.sched_getaffinity(0))
    limit = cpu_limit(CPU_LIMIT.read_text(encoding="ascii")) if CPU_LIMIT.exists() else None
    return allowed if limit is None else max(1, min(allowed, math.ceil(limit)))


def cpu_limit(content: str) -> float | None:
    """Read how many cores `cpu.max` grants; None when it sets no limit.

    >>> cpu_limit("150000 100000"), cpu_limit("max 100000")
    (1.5, None)
    """
    quota, period = content.split()
    return None if quota == "max" else int(quota) / int(period)


def cpu_model() -> str:
    """Name this machine's processor as Linux does, or its architecture where Linux gives no name."""
    lines = CPU_INFO.read_text(encoding="utf-8").splitlines() if CPU_INFO.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
