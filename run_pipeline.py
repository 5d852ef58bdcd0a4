"""The command people type: cameras in, lasting identities out."""

import os
import sys

# Small matrix products, many of them: threads of their own would only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
