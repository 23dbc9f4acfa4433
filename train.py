"""Train an adapter: `accelerate launch train.py --config configs/….yaml [key=value …]`.

Without arguments it lists the shipped configs. The stage itself is the folder train/, imported as pacos.train.
"""

import sys

from pacos.train.__main__ import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
