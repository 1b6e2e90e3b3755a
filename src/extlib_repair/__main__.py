"""``python -m extlib_repair``."""

import sys

from extlib_repair.cli import main

if __name__ == "__main__":
    sys.exit(main())
