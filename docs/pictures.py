#!/usr/bin/env python3
"""Takes the README's pictures from a real run: the checklist as the terminal shows it, and the report.

    cargo run --release -- demo --no-open --out DIR      (first)
    docs/pictures.py DIR                                 (needs chromium)
"""

import html
import os
import re
import subprocess
import sys
import tempfile

COLOURS = {"31": "#c0262d", "32": "#1a7f4b", "33": "#a15c00", "34": "#2457d6", "35": "#6b46c1", "90": "#7b8594"}
PAGE = """<!doctype html><meta charset="utf-8"><style>body{margin:0;padding:20px 24px;background:#fff;color:#14181f;
font:13px/1.45 "DejaVu Sans Mono",ui-monospace,monospace;white-space:pre}b{font-weight:700}i{font-style:normal;color:#7b8594}</style>"""


def to_html(text):
    out, open_tags = [], 0
    for part in re.split(r"(\x1b\[[0-9;]*m)", text):
        code = re.fullmatch(r"\x1b\[([0-9;]*)m", part)
        if not code:
            out.append(html.escape(part))
            continue
        codes = code[1].split(";") if code[1] else ["0"]
        if "0" in codes:
            out.append("</span>" * open_tags)
            open_tags = 0
        style = "".join(f"color:{COLOURS[c]};" for c in codes if c in COLOURS)
        style += "font-weight:700;" if "1" in codes else ""
        style += "color:#7b8594;" if "2" in codes else ""
        if style:
            out.append(f'<span style="{style}">')
            open_tags += 1
    return "".join(out) + "</span>" * open_tags


def shoot(url, picture, width, height):
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
             "--force-device-scale-factor=1", f"--user-data-dir={profile}", f"--window-size={width},{height}",
             f"--screenshot={picture}", url],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    demo = os.path.abspath(sys.argv[1])
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(demo, "checklist.ansi"), encoding="utf-8") as f:
        text = f.read()
    page = os.path.join(demo, "checklist.html")
    with open(page, "w", encoding="utf-8") as f:
        f.write(PAGE + to_html(text))
    lines = text.count("\n") + 3
    shoot("file://" + page, os.path.join(here, "checklist.png"), 960, lines * 19 + 40)
    shoot("file://" + os.path.join(demo, "report.html"), os.path.join(here, "report.png"), 960, 1200)


if __name__ == "__main__":
    main()
