"""An HTML page that opens anywhere, also without a network: its frame and its look.

The page of a data set and the report of a search are such pages; each adds a style of its own.
"""

from html import escape
from pathlib import Path


def html_page(title: str, *, style: str, body: str) -> str:
    """Return a whole page.

    Args:
        title: What the window is called; plain text.
        style: CSS that comes after the common look.
        body: HTML.
    """
    look = Path(__file__).with_name("html_page.css").read_text()
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # An empty icon: browsers would ask for one otherwise.
        '<link rel="icon" href="data:,">'
        f"<title>{escape(title)}</title><style>{look}{style}</style></head><body>{body}</body>"
        "</html>\n"
    )
