"""The plot of `transfer.py` as SVG: the same numbers give the same bytes.

Colours are Okabe and Ito's (Color Universal Design, 2008), which people with any colour vision tell apart, the blue a little lighter; each
line has its own marker too. Text and lines are of a grey that stands out from white and from black, and there is no background.
"""

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 56, 24, 66, 52
COLOURS = ("#2a86c8", "#d55e00", "#009e73")
GREY = "#7d8590"
FONT = "font-family='system-ui, sans-serif'"


def svg(title, curves) -> str:
    """`curves`: of each name, accuracies in % and ms by the number of samples a class, at equal steps along the axis."""
    shots = list(next(iter(curves.values())))
    step = (WIDTH - LEFT - RIGHT) / (len(shots) - 0.5)
    x = {count: LEFT + step * (place + 0.25) for place, count in enumerate(shots)}
    y = lambda percent: HEIGHT - BOTTOM - percent / 100 * (HEIGHT - TOP - BOTTOM)
    parts = [
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' role='img' {FONT} font-size='13'>",
        f"<title>{title}: balanced accuracy by labelled photos a class</title>",
    ]
    for percent in range(0, 101, 20):
        parts.append(f"<path d='M{LEFT} {y(percent):.1f}H{WIDTH - RIGHT}' stroke='{GREY}' stroke-opacity='{0.9 if percent == 0 else 0.3}'/>")
        parts.append(text(LEFT - 8, y(percent) + 4, f"{percent} %", "end"))
    for count in shots:
        parts.append(text(x[count], HEIGHT - BOTTOM + 20, count, "middle"))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, f"labelled photos a class ({title})", "middle"))
    parts.append(text(LEFT - 44, 18, "balanced accuracy on photos never seen", "start"))
    for place, ((name, curve), colour) in enumerate(zip(curves.items(), COLOURS)):
        points = [(x[count], y(curve[count][0])) for count in shots]
        line = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='2.5'/>")
        parts += [marker(place, px, py, colour) for px, py in points]
        for (px, py), count in zip(points, shots):
            lowest = curve[count][0] == min(other[count][0] for other in curves.values())
            parts.append(text(px, py + (22 if lowest else -10), f"{curve[count][0]:.0f}", "middle", colour))
        at = LEFT - 38 + (0, 250, 448)[place]
        parts.append(marker(place, at, 38, colour))
        parts.append(text(at + 12, 42, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def text(x, y, words, anchor, colour=GREY) -> str:
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='{colour}'>{words}</text>"


def marker(place, x, y, colour) -> str:
    if place == 0:
        return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='5' fill='{colour}'/>"
    if place == 1:
        return f"<rect x='{x - 4.5:.1f}' y='{y - 4.5:.1f}' width='9' height='9' fill='{colour}'/>"
    return f"<path d='M{x:.1f} {y - 6:.1f}l6 10.5h-12z' fill='{colour}'/>"
