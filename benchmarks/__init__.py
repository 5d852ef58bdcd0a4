"""What is measured, how, and the latest results."""

import os

# As run_pipeline.py has it: OpenBLAS's other threads would spin beside the detector's. Read when numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
