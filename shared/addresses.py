"""E-mail addresses as they are compared: one key for every spelling of an address."""

import unicodedata

import idna


def address_key(address: str) -> str:
    """Return the key of an address: NFC, in lower case, the domain in ASCII (IDNA 2008).

    Full case folding would make `ß` and `ss` equal, which are two mailboxes (CVE-2019-19844). A
    domain that IDNA does not allow is only in lower case, so that every old address has a key.
    """
    composed = unicodedata.normalize("NFC", address.strip())
    local, at, domain = unicodedata.normalize("NFC", composed.lower()).rpartition("@")
    try:
        domain = idna.encode(domain, uts46=True).decode()
    except idna.IDNAError:
        # ASCII that IDNA refuses, such as a label with two hyphens, is still a name in the DNS.
        pass
    return f"{local}{at}{domain}"
