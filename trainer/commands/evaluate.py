"""`evaluate`: one table for networks, their modes, engines and colours."""

import argparse
import json
import sys

from rich.console import Console
from rich.table import Table

from trainer.commands.subjects import embedders
from trainer.data import open_dataset
from trainer.errors import DataError
from trainer.report import write_report
from trainer.scores import Row, score


def run(options: argparse.Namespace) -> None:
    """Judge every subject and print the table."""
    console = Console(stderr=options.json)
    data = open_dataset(options.data, options.holdout, options.seed)
    if not data.query:
        raise DataError(f"{data.name} has nobody who is seen in two cameras: nothing to find")
    console.print(str(data), soft_wrap=True, markup=False)
    if data.flatters:
        console.print(
            "everybody is judged by: a network that learnt from some of them is flattered (see --holdout)"
        )
    rows = []
    for subject in options.subjects:
        for name, embedder in embedders(subject, options.device, options.threads):
            with console.status(name):
                row = score(
                    name,
                    embedder,
                    data,
                    frames=options.frames,
                    rerank=options.rerank,
                    threads=options.threads,
                )
            rows.append(row)
    if options.json:
        sys.stdout.write(json.dumps([row.as_dict() for row in rows]) + "\n")
    else:
        console.print(_table(rows, options.frames))
    if options.report:
        write_report(options.report, f"Found again in {data.name}", rows=rows, dataset=data)
        console.print(f"report: {options.report}", soft_wrap=True, markup=False)


def _table(rows: list[Row], frames: list[int]) -> Table:
    table = Table("", *(f"{n} f" for n in frames), "rank-1", "rank-5", "mAP", "re-ranked")
    for row in rows:
        again = row.reranked.mean_average_precision if row.reranked else None
        counted = [row.by_frames.get(n) for n in frames]
        scores = [found.mean_average_precision if found else float("nan") for found in counted]
        scores += [row.whole.rank1, float(row.whole.cmc[4]), row.whole.mean_average_precision]
        cells = [f"{100 * value:.1f}" for value in scores]
        table.add_row(row.name, *cells, "" if again is None else f"{100 * again:.1f}")
    return table
