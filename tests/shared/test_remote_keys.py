"""The public keys that a service fetches: when it asks for them, and who waits for the answer."""

import asyncio
import base64

import httpx

from shared.tokens import REFETCH_S, RemoteKeys


class Auth(httpx.AsyncBaseTransport):
    """Auth with keys that a test chooses; while it is away every request fails."""

    def __init__(self) -> None:
        self.kids, self.asked, self.is_away = ["a"], 0, False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        kids, is_away = list(self.kids), self.is_away
        await asyncio.sleep(0)
        if is_away:
            raise httpx.ConnectError("away")
        x = base64.urlsafe_b64encode(bytes(32)).rstrip(b"=").decode()
        one = {"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA"}
        return httpx.Response(200, json={"keys": [{**one, "kid": kid} for kid in kids]})


async def test_services_ask_for_keys_when_they_must_and_wait_for_one_answer() -> None:
    auth = Auth()
    async with httpx.AsyncClient(transport=auth) as client:
        keys = RemoteKeys("http://auth/jwks", client, max_age_s=300)
        assert None not in await asyncio.gather(*(keys.get("a") for _ in range(9)))
        auth.kids = ["a", "b"]
        assert await keys.get("b") is None
        assert auth.asked == 1
        keys._asked_at -= REFETCH_S
        # A client that leaves takes nobody's answer along.
        first = asyncio.create_task(keys.get("b"))
        await asyncio.sleep(0)
        others = [asyncio.create_task(keys.get("b")) for _ in range(9)]
        first.cancel()
        assert None not in await asyncio.gather(*others)
        assert auth.asked == 2
        auth.kids = ["b"]
        keys._asked_at -= 300
        assert await keys.get("a") is None
        auth.is_away = True
        keys._asked_at -= 300
        assert await keys.get("b") is not None
        assert auth.asked == 4
        auth.is_away, auth.kids = False, ["b", "c"]
        keys._asked_at -= REFETCH_S
        assert await keys.get("c") is not None
