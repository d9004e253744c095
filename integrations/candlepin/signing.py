"""Signs requests to Candlepin: OAuth 1.0 with HMAC-SHA1 and no token (RFC 5849, section 3)."""

from __future__ import annotations

from collections.abc import Callable, Generator

import httpx
from oauthlib.oauth1 import Client

from integrations.candlepin.settings import OAuthLogin

__all__ = ["OAuth"]


class OAuth(httpx.Auth):
    """Puts the signature over method, URL and query into ``Authorization``.

    The body is not part of it: Candlepin does not verify ``oauth_body_hash`` (contract, 2.2).
    """

    def __init__(self, login: OAuthLogin) -> None:
        self._client = Client(login.key, client_secret=login.secret.get_secret_value())

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Sign one request; each try anew, because a nonce is taken once."""
        # Its types know the methods' names only.
        sign: Callable[..., tuple[str, dict[str, str], object]] = self._client.sign
        _, headers, _ = sign(str(request.url), http_method=request.method)
        request.headers["Authorization"] = headers["Authorization"]
        yield request
