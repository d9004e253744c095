"""One OpenID provider: where people sign in, and who it says that they are.

Authorization code with PKCE, state and nonce. What it publishes is kept for an hour; its keys are
read anew once where a token was signed with another.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, quote_plus, urlencode, urlsplit

from gateway.oidc_settings import OidcSettings
from gateway.operators.id_token import Expected, SigningKey, UnknownKey, signing_keys, verified
from gateway.operators.oidc_discovery import Discovery, discovered
from gateway.operators.oidc_wire import ProviderAnswer, ProviderAway, SignInFailed, Wire, in_words
from gateway.operators.transaction import Transaction
from inventory.acts_on_people import Rights
from inventory.people_elsewhere import Elsewhere

__all__ = ["RETURN", "Identified", "Provider"]

RETURN = "/sign-in/oidc/return"
"""Where the provider sends people back to; registered there."""
_FRESH = timedelta(hours=1)
_LONGEST_NAME = 200
_SEE_CLIENT = (
    "An admin should compare RACKRISE_GATEWAY_OIDC_CLIENT_ID and "
    "RACKRISE_GATEWAY_OIDC_CLIENT_SECRET with the client at the provider."
)


@dataclass(frozen=True)
class Identified:
    """Somebody whom the provider has identified."""

    who: Elsewhere
    groups: tuple[str, ...]
    """As the provider says at this moment."""
    groups_told: bool
    """Whether the token has the claim at all, with names in it."""
    too_many: bool = False
    """Whether the groups are so many that the provider lists them elsewhere."""


class Provider:
    """The provider of the settings.

    Args:
        settings: with an issuer.
        console_url: how browsers reach us.
        clock: the present.

    Raises:
        OSError: its CA cannot be read.
    """

    def __init__(
        self, settings: OidcSettings, console_url: str, clock: Callable[[], datetime]
    ) -> None:
        self.name = settings.oidc_name
        self.issuer = settings.oidc_issuer
        self.groups_claim = settings.oidc_groups_claim
        self.return_url = console_url.rstrip("/") + RETURN
        self._settings = settings
        self._clock = clock
        self._wire = Wire(settings.oidc_ca, settings.oidc_seconds)
        self._discovery: tuple[datetime, Discovery] | None = None
        self._keys: tuple[datetime, list[SigningKey]] | None = None

    async def address(self, transaction: Transaction) -> str:
        """Where the browser signs in.

        Raises:
            SignInFailed: the provider is away, or not as it must be.
        """
        async with self._in_time():
            found = await self._discovered()
        asked = {
            "response_type": "code",
            "client_id": self._settings.oidc_client_id,
            "redirect_uri": self.return_url,
            "scope": " ".join(self._settings.oidc_scopes),
            "state": transaction.state,
            "nonce": transaction.nonce,
            "code_challenge": transaction.challenge,
            "code_challenge_method": "S256",
        }
        joint = "&" if urlsplit(found.authorization_endpoint).query else "?"
        return f"{found.authorization_endpoint}{joint}{urlencode(asked, quote_via=quote)}"

    async def identified(
        self, transaction: Transaction, code: str, issuer: str | None
    ) -> Identified:
        """Who has signed in there.

        Args:
            transaction: of the browser that comes back.
            code: that it brings.
            issuer: that it brings (RFC 9207); None: none.

        Raises:
            ProviderAway: it does not answer in time.
            SignInFailed: what it says is not believed.
        """
        async with self._in_time():
            found = await self._discovered()
            if issuer != self.issuer and (issuer is not None or found.names_itself):
                raise SignInFailed(
                    "the answer is from another provider than the one that was asked",
                    "Sign in again. If this comes back, tell an admin: somebody may be trying to "
                    "mix two providers up.",
                )
            tokens = await self._exchanged(found, transaction, code)
            return self._identity(await self._claims(found, transaction, tokens))

    def rights_of(self, groups: tuple[str, ...]) -> Rights | None:
        """What somebody may do by their groups; None: nothing, they have none that counts."""
        for one in self._settings.oidc_rights:
            if one.group in groups:
                return Rights(one.role, one.sites, one.host_groups)
        return None

    async def examined(self) -> str:
        """See that the provider is as it must be, with what it publishes read anew.

        Returns:
            What was seen.

        Raises:
            SignInFailed: it is not.
        """
        self._discovery = self._keys = None
        async with self._in_time():
            found = await self._discovered()
            keys = await self._read_keys(found)
        kinds = ", ".join(sorted({one.key_type for one in keys}))
        count = "1 key that signs" if len(keys) == 1 else f"{len(keys)} keys that sign"
        return f"it is the issuer that it is asked as, with {count} ({kinds})"

    @asynccontextmanager
    async def _in_time(self) -> AsyncIterator[None]:
        seconds = self._settings.oidc_seconds
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError:
            raise ProviderAway(
                f"the provider {self.issuer} has not answered within {seconds:g} s", status=504
            ) from None

    async def _discovered(self) -> Discovery:
        at = self._clock()
        if self._discovery is not None and at - self._discovery[0] < _FRESH:
            return self._discovery[1]
        found = await discovered(self._wire, self.issuer)
        self._discovery = at, found
        return found

    async def _exchanged(
        self, found: Discovery, transaction: Transaction, code: str
    ) -> dict[str, Any]:
        client, secret = self._settings.oidc_client_id, self._settings.oidc_client_secret
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.return_url,
            "code_verifier": transaction.verifier,
        }
        headers: dict[str, str] = {}
        if secret is None:
            form["client_id"] = client
        elif "client_secret_basic" in found.methods:
            # Each of the two is quoted as in a form before (RFC 6749, 2.3.1).
            both = f"{quote_plus(client)}:{quote_plus(secret.get_secret_value())}"
            headers["Authorization"] = f"Basic {b64encode(both.encode()).decode()}"
        elif "client_secret_post" in found.methods:
            form |= {"client_id": client, "client_secret": secret.get_secret_value()}
        else:
            raise SignInFailed(
                f"the provider takes {', '.join(found.methods)} of clients only",
                "An admin should allow client_secret_basic for this client there, or make it a "
                "public one.",
                502,
            )
        answer = await self._wire.post(found.token_endpoint, "token endpoint", form, headers)
        if answer.status != 200:
            raise _not_exchanged(answer)
        return answer.body

    async def _claims(
        self, found: Discovery, transaction: Transaction, tokens: dict[str, Any]
    ) -> dict[str, Any]:
        token, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str):
            raise SignInFailed(
                "the provider has sent no ID token",
                "An admin should see that the client there speaks OpenID Connect, and not only "
                "OAuth.",
            )
        expected = Expected(
            self.issuer,
            self._settings.oidc_client_id,
            transaction.nonce,
            access if isinstance(access, str) else None,
            self._clock(),
        )
        if self._keys is not None and self._clock() - self._keys[0] < _FRESH:
            try:
                return verified(token, self._keys[1], expected)
            except UnknownKey:
                pass  # it may have new ones
        try:
            return verified(token, await self._read_keys(found), expected)
        except UnknownKey as unknown:
            raise SignInFailed(
                f"the provider's ID token is not believed: {unknown}",
                "Sign in again. If this comes back, an admin should see the provider's keys.",
            ) from None

    async def _read_keys(self, found: Discovery) -> list[SigningKey]:
        keys = signing_keys(await self._wire.get(found.jwks_uri, "set of keys"))
        if not keys:
            raise ProviderAway(
                f"the provider publishes no key at {found.jwks_uri} that could sign an ID token",
                "An admin should have it sign with RSA or ECDSA.",
            )
        self._keys = self._clock(), keys
        return keys

    def _identity(self, claims: dict[str, Any]) -> Identified:
        told = claims.get(self.groups_claim)
        listed = [told] if isinstance(told, str) else told if isinstance(told, list) else []
        name = claims.get("preferred_username")
        called = name[:_LONGEST_NAME] if isinstance(name, str) else ""
        who = Elsewhere(self.issuer, claims["sub"], called)
        groups = tuple(one for one in listed if isinstance(one, str))
        # A claim that holds something else than names is a mapper's mistake, and nobody's loss.
        groups_told = bool(groups) or told == []
        elsewhere = claims.get("_claim_names")
        too_many = isinstance(elsewhere, dict) and self.groups_claim in elsewhere
        return Identified(who, groups, groups_told, too_many)


def _not_exchanged(answer: ProviderAnswer) -> SignInFailed:
    error = answer.body.get("error") or f"HTTP {answer.status}"
    told = in_words(error, answer.body.get("error_description"))
    said = f"the provider does not take the code: {told}"
    if error in ("invalid_client", "unauthorized_client") or answer.status == 401:
        return SignInFailed(said, _SEE_CLIENT, 502)
    return SignInFailed(
        said,
        "A code is good once, and not for long: sign in again. If this comes back, an admin should "
        "see the provider's log.",
    )
