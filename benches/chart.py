"""The chart of the README: a few figures as bars, one panel each, drawn as SVG without any library."""

NAMES = {"floor": "bare epoll loop", "nchan": "nginx + nchan", "nginx": "nginx", "haproxy": "HAProxy", "pushpin": "Pushpin"}

PANELS = [
    ("Memory per idle subscriber", "B", "less is better", "idle", ("bytes_each",),
     ["outboard", "nchan", "pushpin"]),
    ("Server CPU per delivery, 10 events/s to 10,000", "µs", "less is better", "fanout",
     ("cpu_us_per_delivery", "all"), ["outboard", "floor", "nchan", "pushpin"]),
    ("Deliveries per second, as fast as it goes", "/s", "more is better", "closed",
     ("deliveries_per_second",), ["outboard", "floor", "nchan"]),
    ("Plain requests per second, through the proxy", "/s", "more is better", "plain",
     ("requests_per_second",), ["outboard", "nginx", "haproxy"]),
]

WIDTH, BAR, GAP, LEFT, RIGHT = 760, 18, 6, 130, 90

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.note { fill: #656d76 }
.bar { fill: #afb8c1 }
.ours { fill: #0969da }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note { fill: #8d96a0 }
  .bar { fill: #484f58 }
  .ours { fill: #4493f8 }
}
"""


def draw(runs):
    """The SVG; panels and bars without a figure are left out."""
    parts, y = [], 0
    for panel in PANELS:
        drawn, height = draw_panel(runs, y, *panel)
        parts += drawn
        y += height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" '
        f'role="img" aria-label="outboard compared with others">\n<style>{STYLE}</style>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def draw_panel(runs, top, title, unit, note, scenario, keys, servers):
    values = [(server, runs.median(scenario, server, *keys)) for server in servers]
    values = [(server, value) for server, value in values if value is not None]
    if not values:
        return [], 0
    most = max(value for _, value in values)
    parts = [
        f'<text class="title" x="0" y="{top + 16}">{title}</text>',
        f'<text class="note" x="{WIDTH}" y="{top + 16}" text-anchor="end">{note}</text>',
    ]
    y = top + 28
    for server, value in values:
        width = max(1, (WIDTH - LEFT - RIGHT) * value / most)
        kind = "bar ours" if server == "outboard" else "bar"
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 13}" text-anchor="end">{NAMES.get(server, server)}</text>',
            f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"/>',
            f'<text x="{LEFT + width + 6:.1f}" y="{y + 13}">{shown(value)} {unit}</text>',
        ]
        y += BAR + GAP
    return parts, y + 18 - top


def shown(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
