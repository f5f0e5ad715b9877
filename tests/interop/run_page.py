"""Looks at the page of lamina-train --watch as a person would: python run_page.py URL FOLDER STEPS.

URL ends in /; FOLDER is the name of the run's folder, STEPS how many lines with a loss its log has. Needs Chromium and its
chromedriver. Exits with status 1 and the failed claim when one does not hold.
"""
import sys

from browser import Browser, check, with_browser


def use(page: Browser, url: str, folder: str, steps: str) -> None:
    page.ask("/url", url=url)
    page.wait("the curves are drawn", "document.querySelector('#curve-loss path') && document.querySelector('#curve-grad_norm path')")
    check("the run is named", page.run("return document.querySelector('#folder').innerText") == folder)
    for name in ["step", "epoch", "loss", "lr", "grad_norm", "samples_per_second", "memory_gib", "elapsed_time", "remaining_time"]:
        check(f"a figure: {name}", page.run("return document.querySelector('#figure-' + arguments[0] + ' strong').innerText", name))
    check("each loss is a point", page.run("return lines.get('loss').x.length") == int(steps))
    page.run("""const svg = document.querySelector('#curve-loss svg'), side = svg.getBoundingClientRect();
                svg.dispatchEvent(new MouseEvent('mousemove', { clientX: side.right - 1, clientY: side.top + 5 }));""")
    check("the mouse reads a value", page.run("return document.querySelector('#curve-loss .here').innerText"))

    page.click("#language")
    check("the page speaks Chinese", page.run("return document.querySelector('#curve-loss b').innerText") == "损失")
    page.click("#language")
    theme = page.run("return document.documentElement.dataset.theme")
    page.click("#theme")
    check("dark and light", page.run("return document.documentElement.dataset.theme") != theme)
    page.run("takeLine(JSON.stringify({ current_steps: 1e6, total_steps: 1e6, [arguments[0]]: 1 })); show();",
             "<img src=x onerror='window.hacked=1'>")
    check("words of the log are text", page.run("return !window.hacked && !document.querySelector('img')"))
    check("nothing was fetched from elsewhere",
          page.run("return performance.getEntriesByType('resource').every((at) => at.name.startsWith(arguments[0]))", url))


with_browser(lambda page: use(page, *sys.argv[1:]))
