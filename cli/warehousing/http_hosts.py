"""Whom a request names as its host: without a password, this machine alone.

A page of a stranger may send a browser's requests here under the stranger's own name (DNS rebinding);
the browser then says that name as the host. `tests/cli/test_http_interface.py`.
"""

from ipaddress import ip_address
from urllib.parse import urlsplit


def is_loopback(name: str) -> bool:
    """Of a name or an address without its port."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def in_url(name: str) -> str:
    """A name or an address as it stands in a URL: one of IPv6 in brackets."""
    return f"[{name}]" if ":" in name else name


def names_loopback(host: str) -> bool:
    """Of a Host header, with whatever port."""
    try:
        return is_loopback(urlsplit(f"//{host}").hostname or "")
    except ValueError:
        return False
