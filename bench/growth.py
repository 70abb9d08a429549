"""Whether sending stays as fast, and a worker as small, when the audience grows a hundredfold.

Sends an issue to 10 thousand, 100 thousand and a million readers as bench/send.py does, and compares the
messages a second while sending and the peak memory of a send process with those of the smallest audience.

    .venv/bin/python bench/growth.py [--most 100000] [--json FILE]
"""

import argparse

import stand
from send import whole

AUDIENCES = (10_000, 100_000, 1_000_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--most", type=int, default=AUDIENCES[-1], help="leave larger audiences out")
    parser.add_argument("--size", type=int, default=10_000, help="bytes of a message")
    parser.add_argument("--json")
    asked = parser.parse_args()
    audiences = [readers for readers in AUDIENCES if readers <= asked.most]
    if len(audiences) < 2:
        parser.error(f"--most must be {AUDIENCES[1]} or more")
    runs = {
        readers: whole(readers, asked.size, workers=2, threads=2, connections=4, batch=1000)
        for readers in audiences
    }
    speeds = {readers: readers / run.sent for readers, run in runs.items()}
    peaks = {readers: run.peak_bytes for readers, run in runs.items()}
    first, *others = audiences
    figures: dict[str, object] = {
        "speed_ratio": round(min(speeds[readers] for readers in others) / speeds[first], 3),
        "memory_ratio": round(max(peaks[readers] for readers in others) / peaks[first], 3),
    }
    for readers in audiences:
        figures[f"messages_per_second_{readers}"] = round(speeds[readers])
        figures[f"peak_megabytes_{readers}"] = round(peaks[readers] / 1e6, 1)
        figures[f"seconds_preparing_{readers}"] = round(runs[readers].prepared, 2)
    stand.report(figures, "Speed and memory while the audience grows", asked.json)


if __name__ == "__main__":
    main()
