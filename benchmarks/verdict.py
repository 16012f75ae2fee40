"""How often the verdict is right: on planted faults, their cured twins, healthy models.

Run as ``python -m benchmarks.verdict``; names after it choose models.
"""

import sys
import time

from tests.verdict.planted import FAULTY, HEALTHY, OTHERS, analyze, is_right


def main() -> None:
    """Prints a line for each miss, and the shares at the end."""
    start, wanted = time.process_time(), sys.argv[1:]
    right = cured = twins = accused = healthy = 0
    faulty = [p for p in FAULTY if not wanted or p.name in wanted]
    for planted in faulty:
        report = analyze(planted.body, planted.x, planted.loss)
        if is_right(planted, report):
            right += 1
        else:
            print(f"MISSED {planted.name}: {planted.kind} {planted.place}")
            print(*(f"    {f}" for f in report.findings), sep="\n", flush=True)
        if planted.cured is not None:
            twins += 1
            x = planted.x if planted.cured_x is None else planted.cured_x
            twin = analyze(planted.cured, x)
            if twin.verdict == "ok":
                cured += 1
            else:
                print(f"ACCUSED, cured twin of {planted.name}")
                print(*(f"    {f}" for f in twin.findings), sep="\n", flush=True)
    for name, (model, x) in (HEALTHY | OTHERS).items():
        if wanted and name not in wanted:
            continue
        healthy += 1
        report = analyze(model, x)
        if report.verdict != "ok":
            accused += 1
            print(f"ACCUSED {name}")
            print(*(f"    {f}" for f in report.findings), sep="\n", flush=True)
    print(f"right kind and place: {right} of {len(faulty)} faulty models")
    print(f"cured twins found healthy: {cured} of {twins}")
    print(f"accused: {accused} of {healthy} healthy models")
    print(f"{time.process_time() - start:.0f} s of CPU")


if __name__ == "__main__":
    main()
