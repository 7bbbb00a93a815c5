"""E-mail addresses as they are compared: one key for every spelling of an address."""

import unicodedata

import idna


def address_key(address: str) -> str:
    """Return the key of an address: NFC, the domain in ASCII (IDNA 2008), all of it case folded.

    A domain that IDNA does not allow is only folded, so that every old address has a key.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", address.strip()).casefold())
    local, at, domain = folded.rpartition("@")
    try:
        domain = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        # ASCII that IDNA refuses, such as a label with two hyphens, is still a name in the DNS.
        pass
    return f"{local}{at}{domain}"
