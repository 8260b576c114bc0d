"""The seed's name for eval.py."""

from common import runtime
from IRN.eval import main

if __name__ == "__main__":
    runtime.run_main(main)
