"""Results as tables of Markdown: ratios first, then absolute figures."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

OURS = "throughline"
Report: TypeAlias = Mapping[str, Any]
"""A results file, as JSON gives it."""


def engines_table(report: Report) -> str:
    """A step against its backbone, recomputing and the machine's limit."""
    rows = [
        [
            f"{row['network']}, {row['precision']}",
            row["batch"],
            f"{row['stream_over_backbone']['median']:.2f}",
            f"{row['recompute_over_stream']['median']:.2f}"
            if "recompute_over_stream" in row
            else "",
            f"{row['share_of_peak']['median']:.0%}",
            _spread(row["stream_ms"], 2),
        ]
        for row in report["rows"]
    ]
    heads = [
        "network",
        "batch",
        "step / backbone",
        "recompute / step",
        "share of peak",
        "ms a crop",
    ]
    detector = [
        [
            f"person-detector, {row['precision']}",
            row["batch"],
            f"{row['share_of_peak']['median']:.0%}",
            _spread(row["ms"], 2),
        ]
        for row in report["detector"]
    ]
    memory = report["memory"]
    return (
        _table(heads, rows)
        + "\n\n"
        + _table(["", "batch", "share of peak", "ms a picture"], detector)
        + f"\n\nA process that streams grl-edge with {memory['slots']} slots is {memory['resident_mb']:.0f} MB"
        f" in memory, of which {memory['rows_mb']:.0f} MB are state."
    )


def tracker_table(report: Report) -> str:
    """Scores on real sequences, and how many times ours peers take in crowds."""
    outcomes, ratios = report["outcomes"], report["ratios"]
    first = outcomes[OURS]
    real = [case for case, outcome in first.items() if outcome["hota"] and "crowd" not in case]
    crowds = [case for case in ("crowd 13", "crowd 100", "crowd 500") if case in first]
    rows = []
    for name, of in outcomes.items():
        scores = [f"{100 * of[c]['hota']:.1f} / {100 * of[c]['idf1']:.1f}" for c in real]
        times = [
            (f"{ratios[name][c]:.1f}× " if name in ratios else "1× ")
            + f"({of[c]['microseconds']:,.0f} µs)"
            for c in crowds
        ]
        rows.append([_bold(name), *scores, *times])
    heads = ["tracker", *real, *(case.replace("crowd ", "") + " people" for case in crowds)]
    return (
        _table(heads, rows) + "\n\n![Time and accuracy of trackers](benchmarks/results/tracker.png)"
    )


def synthetic_table(report: Report) -> str:
    """The rendered world, judged."""
    rows = [
        [what, measure, f"{value:,}" if isinstance(value, int) else value]
        for what, part in report["rows"].items()
        for measure, value in part.items()
        if "want" in measure or "fps" in measure  # the rest explains these, in the file
    ]
    return _table(["what", "measure", "value"], rows)


def peers_table(report: Report) -> str:
    """Whole pipelines: ratios, scores, then absolute figures."""
    rows = []
    for name, sets in report["measured"].items():
        for kind, figures in sets.items():
            ratio = report["ratios"].get(name, {}).get(kind)
            scores = report["scores"].get(name, {}) if kind == report["site"]["name"] else {}
            rows.append(
                [
                    _bold(name),
                    kind,
                    f"{ratio[1]:.1f}× ({ratio[0]:.1f}–{ratio[2]:.1f})" if ratio else "",
                    f"{100 * scores['idf1_within']:.1f}" if scores else "",
                    f"{100 * scores['idf1_across']:.1f}" if scores else "",
                    *(
                        f"{_median(figures[measure]):.0f}" if measure in figures else "not measured"
                        for measure in (
                            "frames_per_second",
                            "processor_ms_per_frame",
                            "latency_ms",
                            "peak_memory_mb",
                        )
                    ),
                ]
            )
    heads = [
        "pipeline", "videos", "ours is faster by", "IDF1 within cameras", "across",
        "frames/s", "CPU ms a frame", "latency ms", "peak MB",
    ]  # fmt: skip
    left_out = [f"Left out: {name} ({why})." for name, why in report["absent"].items()]
    return "\n\n".join([_table(heads, rows), *left_out])


def growth_table(report: Report) -> str:
    """Each curve's ends and the power it grows with there."""
    rows = [
        [
            curve["name"],
            f"{curve['x'][0]:,.0f}…{curve['x'][-1]:,.0f} {curve['across']}",
            f"n^{curve['powers'][0]:.2f}…n^{curve['powers'][-1]:.2f}",
            f"{curve['y'][0]:,.3g}…{curve['y'][-1]:,.3g} {curve['unit']}",
        ]
        for curve in report["curves"]
    ]
    table = _table(["what", "over", "grows as", "from…to"], rows)
    return table + "\n\n![How time grows](benchmarks/results/growth.png)"


def embeddings_table(report: Report) -> str:
    """Who finds the right person, at what price."""
    cheapest = min(row["ms"]["median"] for row in report["rows"] if row["ms"])

    def share(value: float | None) -> str:
        return "no weights" if value is None else f"{value:.3f}"

    rows = [
        [
            row["name"],
            f"{row['ms']['median'] / cheapest:.1f}×" if row["ms"] else "",
            share(row["rank1"]),
            share(row["mAP"]),
            _spread(row["ms"], 2) if row["ms"] else "",
        ]
        for row in report["rows"]
    ]
    table = _table(["embedder", "time", "rank-1", "mAP", "ms a crop"], rows)
    return table + "\n\n![Rank-1 against time](benchmarks/results/embeddings.png)"


def detector_table(report: Report) -> str:
    """Rendered people, then real ones."""
    scores, rendered = report["scores"], report["rendered"]
    of = rendered["detectors"]

    def both(told: Report) -> str:
        return f"{told['recall']:.2f} / {told['precision']:.2f}"

    rows = [
        ["rendered: AP50", *(f"{one['ap50']:.3f}" for one in of.values())],
        *(
            [
                f"rendered: recall / precision, score ≥ {scores[point]}",
                *(both(one[point]) for one in of.values()),
            ]
            for point in scores
        ),
        *(
            [
                f"rendered: recall among those who are {kind}",
                *(f"{o['recall_by_trait'][kind]['recall']:.2f}" for o in of.values()),
            ]
            for kind in next(iter(of.values()))["recall_by_trait"]
        ),
    ]
    for clip, told in report.get("real", {}).items():
        name = f"real, {told['labelled_people']} people of {clip}: recall / precision, score ≥"
        rows += [
            [f"{name} {scores[point]}", *(both(told["labelled"][one][point]) for one in of)]
            for point in scores
        ]
        shares = (told["agreement"][one] for one in of)
        rows.append([f"real, {clip}: of what the other is sure of", *(_share(s) for s in shares)])
    heads = ["", *of]
    told = (
        f"{rendered['people']} rendered people in {rendered['frames']} frames of seed {rendered['seed']}, of whom at"
        " least 0.3 shows; the scores are those from which a tracker left to itself continues a track and founds one."
        " The real people were labelled by us."
    )
    return f"{_table(heads, rows)}\n\n{told}"


def startup_table(report: Report) -> str:
    """How long the first event takes, and where that goes."""
    kinds = report["kinds"]
    phases = list(next(iter(kinds.values()))["phases"])
    rows = [
        ["**first event**", *(_spread(kind["first_event"], 2) for kind in kinds.values())],
        ["first tracked frame", *(_spread(kind["first_frame"], 2) for kind in kinds.values())],
        *(
            [f"of which: {phase}", *(_spread(kind["phases"][phase], 2) for kind in kinds.values())]
            for phase in phases
        ),
    ]
    return f"{_table(['seconds', *kinds], rows)}\n\n{report['told']}"


def pipeline_table(report: Report) -> str:
    """The loop against what its engines alone allow, and where the rest goes."""
    modes = report["modes"]

    def row(told: str, of: Callable[[Report], str]) -> list[str]:
        return [told, *(of(mode) for mode in modes.values())]

    rows = [
        row("**of the speed that its engines alone allow**", lambda m: _spread(m["ratio"], 2)),
        row("the same in processor time", lambda m: _spread(m["processor_time_ratio"], 2)),
        row(
            "bytes copied, over the fewest possible",
            lambda m: f"{m['copied_over_fewest']['median']:.2f}",
        ),
        row("frames a second", lambda m: _spread(m["frames_per_second"], 0)),
        row("processor ms a frame", lambda m: _spread(m["processor_ms_a_frame"], 1)),
        row("of which the detector", lambda m: _spread(m["processor_ms_a_frame_detector"], 1)),
        row("of which the embedder", lambda m: _spread(m["processor_ms_a_frame_embedder"], 1)),
    ]
    for stage in next(iter(modes.values()))["stages_ms_a_frame"]:
        times = [mode["stages_ms_a_frame"][stage]["median"] for mode in modes.values()]
        hands = " (two at once)" if stage in ("wait", "detect") else ""
        rows.append([f"ms a frame in the loop: {stage}{hands}", *(f"{t:.2f}" for t in times)])
    return _table([f"{report['cameras']} cameras", *modes], rows)


def int8_table(report: Report) -> str:
    """What eight bits gain and cost."""
    rows = []
    for row in report["rows"]:
        how = row["accuracy"]
        judged = f"{how['measure']} {how['before']:.3f} → {how['after']:.3f}"
        drift = ", ".join(f"{cosine:.3f}" for cosine in how["drift"].values())
        refused = "refused" if how["forced"] else "written"
        for batch, times in row["batches"].items():
            ratio, ms = f"{times['faster']['median']:.2f}×", _spread(times["int8_ms"], 2)
            rows.append([row["network"], batch, ratio, judged, drift, refused, ms])
    drifts = "cosine after 1, 8, 64 steps"
    over = f"over {report['float']}"
    return _table(["network", "batch", over, "accuracy", drifts, "without --force", "ms"], rows)


def calibration_table(report: Report) -> str:
    """What each calibration does to other days of the same cameras."""
    scores = report["scores"]

    def mean(rows: Sequence[Report], key: str) -> float:
        return float(sum(row[key] for row in rows) / len(rows))

    first = mean(next(iter(scores.values())), "across")
    rows = [
        [
            name,
            f"{100 * (mean(days, 'across') - first):+.1f}",
            f"{100 * mean(days, 'across'):.1f}",
            ", ".join(f"{100 * day['across']:.1f}" for day in days),
            f"{100 * mean(days, 'linked_by_truth'):.1f}",
            f"{100 * mean(days, 'within'):.1f}",
            f"{mean(days, 'link_precision'):.2f} / {mean(days, 'link_recall'):.2f}",
        ]
        for name, days in scores.items()
    ]
    heads = ["calibrated", "gain", "IDF1 across", "by day", "true links", "within", "links P / R"]
    learned, realised = report["learned_from"], report["realised_false_matches"]
    rates = [
        f"wanted {rate}: {', '.join(f'{share:.4f}' for share in days)}"
        for rate, days in realised.items()
    ]
    ways = [
        f"{way['origin']} → {way['target']} {way['median']:.1f} s ("
        + (
            f"truly {way['true_median']:.1f} s, {way['true_journeys']} journeys"
            if way["true_median"] is not None
            else "not a true way"
        )
        + ")"
        for way in learned["ways"]
    ]
    told = [
        f"Learned from {learned['seconds']:.0f} s of seed {learned['seed']}; days are seeds "
        f"{', '.join(map(str, report['seeds']))}. Strangers in two cameras who were more alike than the label-free "
        f"thresholds, day by day: {'; '.join(rates)}.",
        f"Ways learned: {'; '.join(ways) or 'none'}.",
    ]
    return "\n\n".join([_table(heads, rows), *told])


def soak_table(report: Report) -> str:
    """Whether anything grew."""
    tables = report["largest_by_thirds"]
    grown = ", ".join(report["grown"]) or "none"
    rows = [
        ["frames", f"{report['frames']:,}"],
        ["people who came and went", f"{report['identities_founded']:,}"],
        ["tables watched", f"{len(tables):,}"],
        ["tables that were larger in the last third than in the second", grown],
        ["memory, last third over second", f"{report['memory_growth_mb']:+.1f} MB"],
        ["time a frame", f"{report['microseconds_a_frame']:.0f} µs"],
    ]
    return _table(["", ""], rows)


def training_input_table(report: Report) -> str:
    """How much of its time a training has for the network."""
    rows = [
        ["by the clock", _spread(report["ratio"], 2)],
        ["by processor time", _spread(report["processor_time_ratio"], 2)],
        ["crops a second, fed", _spread(report["crops_per_second"], 1)],
        ["crops a second, compute alone", _spread(report["compute_only"], 1)],
        *(
            [f"a step, {name}, {threads} thread{'s' * (threads != '1')}: s", _spread(seconds, 2)]
            for threads, kinds in report["step_seconds"].items()
            for name, seconds in kinds.items()
        ),
    ]
    return _table(["fed / compute alone", f"{report['network']} on {report['device']}"], rows)


TABLES: Mapping[str, Callable[[Report], str]] = {
    "engines": engines_table,
    "tracker": tracker_table,
    "synthetic": synthetic_table,
    "peers": peers_table,
    "growth": growth_table,
    "embeddings": embeddings_table,
    "detector": detector_table,
    "startup": startup_table,
    "pipeline": pipeline_table,
    "int8": int8_table,
    "calibration": calibration_table,
    "soak": soak_table,
    "training_input": training_input_table,
}


def _table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _bold(name: str) -> str:
    return "**ours**" if name == OURS else name


def _spread(figures: Mapping[str, float], digits: int) -> str:
    least, median, most = (f"{figures[key]:.{digits}f}" for key in ("least", "median", "most"))
    return f"{median} ({least}–{most})"


def _share(told: Report) -> str:
    return f"{told['share']:.2f} of {told['boxes']}" if told["boxes"] else "none"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
