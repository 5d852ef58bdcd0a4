"""The command people type: cameras in, lasting identities out."""

import sys

from pipeline.cli import main

if __name__ == "__main__":
    sys.exit(main())
