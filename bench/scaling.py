"""Compare sending speed and worker memory for audiences that grow a hundredfold.

An issue is sent to 10 thousand, 100 thousand and a million readers, as in bench/send.py, and then to the smaller
audiences again, since the machine may change meanwhile. ``ratio`` is the messages a second to the largest
audience over those to the fastest of the others. ``memory_ratio`` is the highest peak memory of a send
process over that with the smallest audience.

    .venv/bin/python bench/scaling.py [--most 100000] [--json FILE]
"""

import argparse
from statistics import fmean

import harness
from send import PipelineRun, run_full_pipeline

AUDIENCES = (10_000, 100_000, 1_000_000)


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=AUDIENCES[-1], help="skip larger audiences")
    parser.add_argument("--size", type=int, default=10_000, help="bytes of a message")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    audiences = [readers for readers in AUDIENCES if readers <= arguments.most]
    if len(audiences) < 2:
        parser.error(f"--most must be {AUDIENCES[1]} or more")
    runs: dict[int, list[PipelineRun]] = {readers: [] for readers in audiences}
    for readers in [*audiences, *reversed(audiences[:-1])]:
        runs[readers].append(
            run_full_pipeline(readers, arguments.size, workers=2, threads=2, connections=4, batch=1000)
        )
    speeds = {readers: readers / fmean(run.send_seconds for run in group) for readers, group in runs.items()}
    peaks = {readers: fmean(run.peak_bytes for run in group) for readers, group in runs.items()}
    *others, last = audiences
    fastest = max(speeds[readers] for readers in others)
    figures: dict[str, object] = {
        "ratio": round(speeds[last] / fastest, 3),
        "largest_per_second": round(speeds[last]),
        "fastest_other_per_second": round(fastest),
        "memory_ratio": round(max(peaks.values()) / peaks[audiences[0]], 3),
    }
    for readers in audiences:
        figures[f"messages_per_second_{readers}"] = round(speeds[readers])
        figures[f"peak_megabytes_{readers}"] = round(peaks[readers] / 1e6, 1)
        figures[f"seconds_preparing_{readers}"] = round(fmean(run.prepare_seconds for run in runs[readers]), 2)
    harness.report(figures, "Speed and memory by audience size", arguments.json)


if __name__ == "__main__":
    main()
