"""The command people type: cameras in, lasting identities out."""

import os
import sys

# Small matrix products, many of them: threads of their own would only wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

if __name__ == "__main__":
    try:
        from pipeline.cli import main

        sys.exit(main())
    except KeyboardInterrupt:  # before a run began, which ends in order
        sys.stderr.write("stopped\n")
        sys.stderr.flush()
        os._exit(130)  # another thread may be opening a network, which cannot be stopped
