#!/usr/bin/env python3
"""Makes the table and the chart of what benches/run measured.

    report.py RAW CONDITIONS [--record]

RAW has a line of JSON for each run: scenario, server, round, result. A ratio is the median of the
ratios of pairs, of which a round has one or several: the servers of a pair met the same machine. A
figure alone is the median of its runs. With --record, the table goes to benches/RESULTS.md, above
the older ones, and the chart to benches/chart.svg; README.md's table is replaced. Ends with 1 when
an event was lost, doubled or out of order.
"""

import datetime
import json
import pathlib
import statistics
import sys

from chart import draw

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "RESULTS.md"
CHART = HERE / "chart.svg"
README = HERE.parent / "README.md"
README_BEGIN = "<!-- performance: this table is written by benches/run --record -->\n"
README_END = "<!-- /performance -->\n"
MARK = "<!-- results, newest first -->\n"


class Runs:
    """All results, by scenario and server; of each a list in the order of the runs, by which they are paired."""

    def __init__(self, lines):
        self.by = {}
        for line in lines:
            run = json.loads(line)
            self.by.setdefault((run["scenario"], run["server"]), []).append(run["result"])

    def values(self, scenario, server, *keys):
        results = self.by.get((scenario, server), [])
        return [dig(result, keys) if result else None for result in results]

    def median(self, scenario, server, *keys):
        known = [value for value in self.values(scenario, server, *keys) if value is not None]
        return statistics.median(known) if known else None

    def ratio(self, scenario, server, other, *keys):
        pairs = zip(self.values(scenario, server, *keys), self.values(scenario, other, *keys))
        known = [ours / theirs for ours, theirs in pairs if ours is not None and theirs]
        return statistics.median(known) if known else None

    def ratio_within(self, scenario, server, keys, other_keys):
        """Of two figures of the same run."""
        pairs = zip(self.values(scenario, server, *keys), self.values(scenario, server, *other_keys))
        known = [one / other for one, other in pairs if one is not None and other]
        return statistics.median(known) if known else None

    def total(self, key):
        """Over the events of all runs of all servers, those of peers apart."""
        ours = theirs = 0
        for (_, server), results in self.by.items():
            count = sum(dig(result, ("events", key)) or 0 for result in results if result)
            if server.startswith("outboard") or server == "floor":
                ours += count
            else:
                theirs += count
        return ours, theirs


def dig(value, keys):
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


class Row:
    """A line of the table: what, its target, our figure, others'."""

    def __init__(self, figure, target, value, ours, others, unit):
        self.figure, self.target, self.value = figure, target, value
        self.ours, self.others, self.unit = ours, others, unit

    def met(self):
        if self.value is None:
            return "not measured"
        word, bound = self.target
        met = self.value <= bound if word == "<=" else self.value >= bound
        return "yes" if met else "**no**"

    def cells(self):
        word, bound = self.target
        others = ", ".join(f"{name} {number(value)}" for name, value in self.others if value is not None)
        ours = f"{number(self.ours)} {self.unit}".strip() if self.ours is not None else ""
        return [self.figure, f"{word} {number(bound)}", number(self.value), ours, others, self.met()]


def number(value):
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def compared(runs, figure, target, scenario, other, keys, unit, ours="outboard", shown=()):
    """A row whose target is a ratio of ours to another server's."""
    value = runs.ratio(scenario, ours, other, *keys)
    others = [(name, runs.median(scenario, name, *keys)) for name in (other, *shown)]
    return Row(figure, target, value, runs.median(scenario, ours, *keys), others, unit)


def alone(runs, figure, target, scenario, keys, unit, ours="outboard", shown=()):
    """A row whose target is a figure of ours."""
    value = runs.median(scenario, ours, *keys)
    return Row(figure, target, value, value, [(name, runs.median(scenario, name, *keys)) for name in shown], unit)


def rows(runs):
    delivery = ("cpu_us_per_delivery", "all")
    event = ("cpu_us_per_event", "all")
    p99 = ("latency_ms", "p99")
    yield alone(runs, "memory (RSS) per idle subscriber, 10,000 of them", ("<=", 400), "idle", ("bytes_each",), "B",
                shown=("floor", "nchan", "pushpin"))
    yield alone(runs, "memory (RSS) per idle stream that the site writes, 4,000 of them", ("<=", 4096), "idle-passed",
                ("bytes_each",), "B", shown=("nginx", "haproxy"))
    yield compared(runs, "server CPU per delivery / floor's: 10,000 subscribers, 10 events/s, 100 B", ("<=", 1.05),
                   "fanout", "floor", delivery, "us", shown=("nchan", "pushpin"))
    yield compared(runs, "p99 latency / floor's, same", ("<=", 1.10), "fanout", "floor", p99, "ms",
                   shown=("nchan", "pushpin"))
    yield compared(runs, "server CPU per delivery / floor's: closed loop, 4 events outstanding, 10,000 x 100 B",
                   ("<=", 0.40), "closed", "floor", delivery, "us", shown=("nchan",))
    yield compared(runs, "deliveries/s / nchan's, same", (">=", 4.5), "closed", "nchan", ("deliveries_per_second",),
                   "/s", shown=("floor",))
    yield compared(runs, "server CPU per event / floor's: 1,000 channels, 16 publishers writing frames, replies read",
                   ("<=", 1.30), "frames", "floor", event, "us")
    yield compared(runs, "server CPU per event / nchan's: the same by HTTP POST", ("<=", 0.85), "post", "nchan", event,
                   "us", ours="outboard-post")
    if runs.values("publish", "outboard-disk"):
        yield alone(runs, "events/s acknowledged `stored`, 64 publishers, 300 B", (">=", 40000), "publish",
                    ("events_per_second",), "/s", ours="outboard-disk")
    yield alone(runs, "events/s acknowledged `accepted`, 64 publishers, 300 B", (">=", 40000), "publish",
                ("events_per_second",), "/s")
    yield compared(runs, "plain requests, 64 connections, 1 KiB, core shared with the site: proxy CPU / nginx's",
                   ("<=", 0.95), "plain", "nginx", ("cpu_us_per_request", "all"), "us", shown=("haproxy",))
    yield compared(runs, "requests/s / nginx's, same", (">=", 1.05), "plain", "nginx", ("requests_per_second",), "/s")
    yield compared(runs, "requests/s / HAProxy's, same", (">=", 1.05), "plain", "haproxy", ("requests_per_second",),
                   "/s")
    for size in (1, 100):
        yield compared(runs, f"downloads of {size} MiB: proxy CPU for each / nginx's", ("<=", 1.15), f"download-{size}",
                       "nginx", ("cpu_us_per_request", "all"), "us", shown=("haproxy",))
    yield alone(runs, "10,000 clients cut at once, each resuming over 100 events: all back, in seconds", ("<=", 15),
                "storm", ("seconds_all",), "s")
    yield alone(runs, "p99 of a page of the site meanwhile, ms", ("<=", 250), "storm", ("pages_ms_p99",), "ms")
    yield alone(runs, "18,000 clients of a shared and an own channel leave at once: p99 of an acknowledgement, ms",
                ("<=", 5), "leave", ("acknowledgement_ms", "p99"), "ms")
    yield alone(runs, "the longest of them, ms", ("<=", 25), "leave", ("acknowledgement_ms", "max"), "ms")
    yield alone(runs, "10,000 handed-over clients, each asked about every 10 s: p99 of a page, ms", ("<=", 50), "held",
                ("pages_ms_p99",), "ms")
    yield alone(runs, "all of them leave at once: until the site was told of each, in seconds", ("<=", 30), "held",
                ("gone_seconds",), "s")
    yield alone(runs, "one client reads 200,000 events that are printed in one go: events that it missed", ("<=", 0),
                "burst", ("events", "lost"), "")
    yield alone(runs, "10,000 that never read, 1 KiB at 100/s: RSS growth, MiB", ("<=", 64), "silent",
                ("resident_growth_mib",), "MiB")
    yield alone(runs, "kernel TCP memory per such client (both ends), KiB", ("<=", 64), "silent",
                ("kernel_tcp_kib_per_socket",), "KiB")
    harmed = runs.ratio_within("silent", "outboard", ("latency_ms", "p99"), ("latency_ms_alone", "p99"))
    yield Row("the readers' p99 beside them / alone", ("<=", 1.5), harmed,
              runs.median("silent", "outboard", "latency_ms", "p99"),
              [("alone", runs.median("silent", "outboard", "latency_ms_alone", "p99"))], "ms")


def table(runs):
    head = ["figure", "target", "here", "outboard", "others", "met"]
    lines = [head, ["---"] * len(head)]
    lines += [row.cells() for row in rows(runs) if row.value is not None]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def losses(runs):
    """What was lost, doubled or out of order, in words, and whether it was none of ours."""
    words, none = [], True
    for key in ("lost", "doubled", "misordered"):
        ours, theirs = runs.total(key)
        none = none and ours == 0
        words.append(f"{ours:,} {key}" + (f" (peers: {theirs:,})" if theirs else ""))
    return f"Of {runs.total('delivered')[0]:,} events delivered: " + ", ".join(words) + ".", none


def bound_by_load(runs):
    """Runs in which the generator had no time left: their rates are the generator's, not the server's."""
    names = set()
    for (scenario, server), results in runs.by.items():
        if any((dig(result, ("generator_load",)) or 0) > 0.95 for result in results if result):
            names.add(f"{scenario} of {server}")
    return sorted(names)


def main():
    raw, conditions = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]).read_text()
    runs = Runs(raw.read_text().splitlines())
    sentence, none_lost = losses(runs)
    text = f"{table(runs)}\n\n{sentence}\n"
    if busy := bound_by_load(runs):
        text += f"The generator had its core full, so that rates are at least what is shown: {', '.join(busy)}.\n"
    text += "\n" + "".join(f"- {line}\n" for line in conditions.splitlines())
    print(text)

    if "--record" in sys.argv:
        record(runs, text)
    return 0 if none_lost else 1


def record(runs, text):
    """Writes what is kept in the repository."""
    today = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    before, mark, after = RESULTS.read_text().partition(MARK)
    RESULTS.write_text(f"{before}{mark}\n## {today}\n\n{text}{after}")
    CHART.write_text(draw(runs))
    before, begin, rest = README.read_text().partition(README_BEGIN)
    _, end, after = rest.partition(README_END)
    README.write_text(f"{before}{begin}\n{table(runs)}\n\n{end}{after}")


if __name__ == "__main__":
    sys.exit(main())
