"""Tell where a teacher's server stands, by the addresses that its name means and the one really connected to.

In the house are the addresses in IN_HOUSE: this machine, private networks, link-local and IPv6 unique local ones. A
name alone says nothing: a service of the cluster is in the house because of what its name resolves to. What a server
does with a text once it has it, no address tells: a gateway in the house may ask a model outside of it.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import filterfalse
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from understudy.errors import BadInput
from understudy.text.numbers import clip, count

IN_HOUSE = tuple(
    ipaddress.ip_network(network)
    for network in (
        "127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16",
        "::1/128", "fe80::/10", "fc00::/7",
    )
)  # fmt: skip
CONNECTING, CONNECTED = ".connect_tcp.started", ".connect_tcp.complete"  # of httpcore's trace; nothing is sent before
LONGEST_HOST = 160  # of what is quoted in a sentence
MOST_NAMED = 3  # addresses in a sentence


class OutOfHouse(BadInput):
    """The teacher would be asked outside of the house, and the card wants it in there; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a server stands before it is asked.

    Attributes:
        host: its name or address.
        outside: its addresses that are not in the house.
        proxy: host of the proxy that the environment puts before it; empty for none. Where that one sends a text to,
            nobody here sees.
        is_known: whether the name means any address at all, or was connected to.
    """

    host: str
    outside: tuple[str, ...] = ()
    proxy: str = ""
    is_known: bool = True

    @property
    def is_in_house(self) -> bool:
        """Whether every address is in the house and no proxy stands before it."""
        return self.is_known and not self.outside and not self.proxy

    @property
    def words(self) -> str:
        """Say where texts go.

        >>> Place("10.0.0.7").words
        'texts stay in the house (10.0.0.7)'
        >>> Place("api.openai.com", ("162.159.140.245",)).words
        'texts leave the house, for api.openai.com, as they are: nothing in them is hidden'
        >>> Place("teacher.invalid", is_known=False).words
        'whether texts leave the house is not known yet: teacher.invalid has no address here now'
        """
        if self.is_in_house:
            return f"texts stay in the house ({self.host})"
        if not self.is_known and not self.proxy:
            return f"whether texts leave the house is not known yet: {self.host} has no address here now"
        through = f" through the proxy {self.proxy}" if self.proxy else ""
        return f"texts leave the house, for {self.host}{through}, as they are: nothing in them is hidden"


def is_in_house(address: str) -> bool:
    """Tell whether an IP address is in the house.

    >>> [is_in_house(one) for one in ("127.0.0.1", "10.1.2.3", "fd00::1", "fe80::1%eth0", "::ffff:192.168.0.1")]
    [True, True, True, True, True]
    >>> [is_in_house(one) for one in ("8.8.8.8", "172.32.0.1", "100.64.0.1", "2001:db8::1", "::ffff:8.8.8.8")]
    [False, False, False, False, False]
    """
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found.version == network.version and found in network for network in IN_HOUSE)


def find(url: str, *, past_proxies: bool) -> Place:
    """Find where a server stands: resolve its name, and look for a proxy before it.

    Args:
        url: of the server.
        past_proxies: it will be asked directly, whatever proxy the environment names.
    """
    parts = urlsplit(url)
    host = as_sent(parts.hostname or "")
    addresses = resolve(host)
    proxy = "" if past_proxies else _proxy_of(parts.scheme, host)
    return Place(host, tuple(filterfalse(is_in_house, addresses)), proxy, is_known=bool(addresses))


def as_sent(host: str) -> str:
    """Write a host as a connection names it: in the letters of DNS.

    >>> as_sent("teacher.example"), as_sent("köln.example")
    ('teacher.example', 'xn--kln-sna.example')
    """
    if host.isascii():
        return host
    import httpx2

    with contextlib.suppress(httpx2.InvalidURL):  # no such name: it means no address either
        return httpx2.URL(f"http://{host}/").raw_host.decode()
    return host


def resolve(host: str) -> Sequence[str]:
    """Return all addresses that a name means now; none where it means none.

    >>> resolve("127.0.0.1"), resolve("no-such-name.invalid")
    (['127.0.0.1'], [])
    """
    with contextlib.suppress(OSError, UnicodeError):
        return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, None)))
    return []


def _proxy_of(scheme: str, host: str) -> str:
    """Return the host of the proxy that the environment names for a server; empty for none."""
    proxies = getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or proxy_bypass(host):
        return ""
    try:
        return urlsplit(proxy if "://" in proxy else f"http://{proxy}").hostname or "?"
    except ValueError as error:
        named = f"{scheme}_proxy".upper()
        raise BadInput(f"A proxy must be an address, got none: {error} ({named}). Mend or unset it.") from error


def require_in_house(place: Place) -> None:
    """Refuse a server with an address outside of the house, also where it has others inside.

    Raises:
        OutOfHouse: it has one.
    """
    if place.outside:
        raise refusal(place.host, place.outside)


def refusal(host: str, addresses: Sequence[str]) -> OutOfHouse:
    """Return the error for a server outside of the house."""
    host, shown = clip(host, LONGEST_HOST), ", ".join(addresses[:MOST_NAMED])
    means = "" if list(addresses) == [host] else f" ({shown}{_more(len(addresses) - MOST_NAMED)})"
    return OutOfHouse(
        f"The teacher must be in the house, got {host}{means} (teacher.place on the card). Nothing was sent: point "
        "OPENAI_BASE_URL or teacher.base_url at a server with a loopback, private, link-local or unique local address, "
        "or set teacher.place to anywhere."
    )


def _more(number: int) -> str:
    return f" and {count(number, 'more')}" if number > 0 else ""


async def watch(place: Place, event: str, info: Mapping[str, Any], *, must_be_in_house: bool) -> Place:
    """Look at a connection that is being made, before anything is sent through it.

    Args:
        place: what is known so far.
        event: of httpcore's trace extension.
        info: what it tells of the event.
        must_be_in_house: hang up where the other end is outside of the house.

    Returns:
        what is known now: an address or a proxy that was met stays.

    Raises:
        OutOfHouse: the other end is outside, whatever the name meant before.
    """
    if event.endswith(CONNECTING) and info["host"] != place.host:
        return replace(place, proxy=str(info["host"]))
    if not event.endswith(CONNECTED):
        return place
    address = str(info["return_value"].get_extra_info("server_addr")[0])
    if is_in_house(address):
        return replace(place, is_known=True)
    if must_be_in_house:
        await info["return_value"].aclose()
        raise refusal(place.host, [address])
    return replace(place, outside=tuple(dict.fromkeys((*place.outside, address))))
