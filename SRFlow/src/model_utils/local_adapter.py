"""This machine: what a launcher tells a process of its place, by the environment."""

import os

from common import UserError
from common.config import counting_number


def get_device_id() -> int:
    return number("DEVICE_ID")


def get_rank_id() -> int:
    return number("RANK_ID")


def number(name: str) -> int:
    """Read a variable of the environment; 0 when it is not set."""
    text = os.environ.get(name) or "0"
    found = counting_number(text)
    if found is None:
        raise UserError(f"{name} must be a number, not {text!r}")
    return found
