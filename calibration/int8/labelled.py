"""Accuracy of a stream under the trainer's protocol. The only module here that leans on the trainer."""

from pathlib import Path

from calibration.errors import TooLittleError, UsageError
from engines.engine import Engine
from trainer.data import open_dataset
from trainer.errors import TrainerError
from trainer.evaluation import search
from trainer.packages import PackagedStream
from trainer.scores import embedded

MAP_ALLOWED = 0.005
LEAST_QUERIES = 20


class LabelledStream:
    """mAP of a stream under the MARS protocol."""

    measure, allowed = "mAP", MAP_ALLOWED

    def __init__(self, folder: Path, frames: int) -> None:
        self._frames = frames
        try:
            self._data = open_dataset(str(folder))
        except TrainerError as error:
            raise UsageError(str(error)) from error
        queries, gallery = len(self._data.query), len(self._data.gallery)
        if queries < LEAST_QUERIES:
            raise TooLittleError(f"tracklets to look for in {folder}", queries, LEAST_QUERIES)
        self.judged_on = f"{queries} queries among {gallery} tracklets of {folder.resolve().name}, {frames} crops each"

    def __call__(self, engine: Engine) -> float:
        query, gallery = embedded(
            self._data, PackagedStream(engine), frames=self._frames, threads=1
        )
        return search(query, gallery).mean_average_precision
