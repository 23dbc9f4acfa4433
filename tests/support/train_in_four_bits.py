"""Run by test_fsdp.py in two processes: train.py with a base in 4 bits on CPUs, where pacos does not offer it."""

import sys

from pacos.train.__main__ import main
from pacos.train.model import quantization

if __name__ == "__main__":
    quantization.check_four_bits = lambda: None
    sys.exit(main(sys.argv[1:]))
