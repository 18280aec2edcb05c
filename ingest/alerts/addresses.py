"""Which addresses of the network messages may go to."""

from __future__ import annotations

import ipaddress
from typing import Final

# Names the setting, so that whoever reads it in the app or in the outbox knows what to change.
PRIVATE_ADDRESS: Final = (
    "the name resolves to a private, loopback or link-local address; "
    "TREERING_ALLOW_PRIVATE_WEBHOOKS=true for the app and the worker allows that"
)

# Addresses that carry an IPv4 address in their last four bytes: NAT64 (RFC 6052, RFC 8215) and the deprecated
# IPv4-compatible ones (RFC 4291, 2.5.5.1).
_CARRIERS: Final = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "::/96")))
# Not global, though Python's table does not say so of every release: NAT64 for local use may embed in several ways
# (RFC 8215), and site-local addresses were deprecated, never handed out (RFC 3879).
_CLOSED: Final = tuple(map(ipaddress.ip_network, ("64:ff9b:1::/48", "fec0::/10")))


def is_public(address: str) -> bool:
    """Tell whether an IP address belongs to the public internet, also where it is wrapped into an IPv6 one.

    Args:
        address: IPv4 or IPv6; a zone (`%eth0`) is allowed and makes no difference.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if any(ip in network for network in _CLOSED):
            return False
        embedded = ip.ipv4_mapped or ip.sixtofour
        if any(ip in network for network in _CARRIERS):
            embedded = ipaddress.IPv4Address(ip.packed[-4:])
        ip = embedded or ip
    return ip.is_global and not ip.is_multicast


def is_address(text: str) -> bool:
    """Tell whether a text is an IP address instead of a name."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True
