"""This machine: what a launcher tells a process of its place, by the environment."""

import os


def get_device_id() -> int:
    """Number of the device; 0 when nobody chose one."""
    return int(os.environ.get("DEVICE_ID") or 0)


def get_device_num() -> int:
    """Number of workers in the job."""
    return int(os.environ.get("RANK_SIZE") or 1)


def get_rank_id() -> int:
    """Number of this worker among them."""
    return int(os.environ.get("RANK_ID") or 0)
