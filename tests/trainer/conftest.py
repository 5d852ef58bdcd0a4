"""What several of the trainer's tests need."""

import pytest
import torch


@pytest.fixture
def one_thread():
    """Sums of floats in the same order in every process, and small networks that do not wait for a second core."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
