"""Data sets, and the way from their pictures to a network's input."""

from trainer.data.catalogue import open_dataset, people_together
from trainer.data.dataset import Dataset, Tracklet

__all__ = ["Dataset", "Tracklet", "open_dataset", "people_together"]
