"""Signing in at an OpenID provider: there and back, and what is said to whom it does not let in."""

from __future__ import annotations

import hmac
import logging

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from gateway.answers import Refusal
from gateway.operators.console.pages import page, redirect
from gateway.operators.console.signing_in import own_path
from gateway.operators.context import Operators
from gateway.operators.oidc import RETURN, Identified, Provider
from gateway.operators.oidc_wire import ProviderAway, SignInFailed, in_words
from gateway.operators.sessions import keep_cookie
from gateway.operators.transaction import Transaction
from gateway.requests import client_address
from inventory import people, people_elsewhere
from inventory.errors import BadPerson, NotSignedIn

__all__ = ["signing_in_elsewhere_routes"]

log = logging.getLogger(__name__)

_WHO = "somebody elsewhere"
"""Whom failures are counted for: with a space in it, it is no person's name."""
_LONGEST_PATH = 1000
_BEGIN_AGAIN = (
    "Sign in again, in this browser and within ten minutes. If this comes back, let the browser "
    "keep cookies of this site."
)

_LIST_GROUP = "put you into a group that RACKRISE_GATEWAY_OIDC_RIGHTS lists, or list one of yours"


def signing_in_elsewhere_routes(gateway: Operators) -> APIRouter:
    """``/sign-in/oidc``, a plain link, and where the provider sends people back to."""
    router = APIRouter()

    @router.get("/sign-in/oidc")
    async def leave(request: Request, to: str = "/") -> Response:
        provider = _provider(gateway, request)
        at = gateway.clock()
        gateway.throttle.require_patience(_WHO, _address(gateway, request), at)
        # Browsers drop a cookie that is too long.
        transaction = Transaction.begin(own_path(to) if len(to) <= _LONGEST_PATH else "/", at)
        try:
            address = await provider.address(transaction)
        except SignInFailed as failed:
            log.warning("nobody can sign in at %s: %s", provider.issuer, failed)
            return _not_signed_in(gateway, request, failed, transaction.to)
        answer = RedirectResponse(address, 303)
        gateway.transactions.keep(answer, transaction)
        return answer

    @router.get(RETURN)
    async def come_back(request: Request) -> Response:
        provider = _provider(gateway, request)
        at, address = gateway.clock(), _address(gateway, request)
        gateway.throttle.require_patience(_WHO, address, at)
        kept = gateway.transactions.kept(request, at)
        transaction: Transaction | None = None
        person: Identified | None = None
        try:
            transaction = _asked_for(request, kept)
            person = await _identified(request, provider, transaction)
            secret = await _let_in(gateway, provider, person)
        except SignInFailed as failed:
            log.warning("not signed in at %s: %s", provider.issuer, failed)
            # An answer that nobody here has asked for costs nothing: any page could lead to one.
            if transaction is not None and not isinstance(failed, ProviderAway):
                # Whom the provider has vouched for guesses nothing, and shares the address.
                if person is None:
                    gateway.throttle.failed(_WHO, address, at)
                await _note(gateway, provider, failed, person, address)
            to = kept.to if kept else "/"
            answer = _not_signed_in(gateway, request, failed, to, person)
        else:
            gateway.throttle.succeeded(_WHO, address)
            answer = redirect(gateway, own_path(transaction.to))
            keep_cookie(gateway, answer, secret)
        if transaction is not None:
            # It is good for one answer; another tab's may still come.
            gateway.transactions.forget(answer)
        return answer

    return router


def _provider(gateway: Operators, request: Request) -> Provider:
    if gateway.provider is None:
        raise Refusal(404, "this console has no OpenID provider: sign in with name and password")
    # Else an image or frame on any page could make tries fail in somebody's browser.
    sent = request.headers
    mode, goal = sent.get("sec-fetch-mode", "navigate"), sent.get("sec-fetch-dest", "document")
    if (mode, goal) != ("navigate", "document"):
        raise Refusal(403, "this is a page to go to, and no part of another page")
    return gateway.provider


def _address(gateway: Operators, request: Request) -> str:
    return client_address(request, gateway.settings.trusted_proxies)


def _asked_for(request: Request, transaction: Transaction | None) -> Transaction:
    """The sign-in that this is the answer to; nothing else in the request is believed before."""
    if transaction is None:
        raise SignInFailed("no sign-in is under way in this browser", _BEGIN_AGAIN, 400)
    state = request.query_params.get("state", "")
    if not hmac.compare_digest(state.encode(), transaction.state.encode()):
        raise SignInFailed(
            "this answer belongs to another sign-in than the last of this browser",
            _BEGIN_AGAIN,
            400,
        )
    return transaction


async def _identified(request: Request, provider: Provider, transaction: Transaction) -> Identified:
    said = request.query_params
    if "error" in said:
        told = in_words(said["error"], said.get("error_description"))
        raise SignInFailed(
            f"{provider.name} has not let you in: {told}",
            "Sign in again and agree there. If it refuses you, ask whoever runs it.",
        )
    if not (code := said.get("code", "")):
        raise SignInFailed("the answer has no code in it", _BEGIN_AGAIN, 400)
    return await provider.identified(transaction, code, said.get("iss"))


async def _let_in(gateway: Operators, provider: Provider, person: Identified) -> str:
    """What the browser's cookie is to hold.

    Raises:
        SignInFailed: they may do nothing here.
    """
    at, rights = gateway.clock(), provider.rights_of(person.groups)
    if person.too_many:
        raise SignInFailed(
            f"you are in so many groups that {provider.name} does not list them",
            "An admin should have it send only groups that this client is for.",
        )
    if not person.groups_told:
        # Rather a mistake in a setting than a loss: nothing is taken from anybody for it.
        raise SignInFailed(
            f"{provider.name} knows you, and does not say which groups you are in",
            f"Send this page to an admin: the ID token has no claim {provider.groups_claim!r} "
            f"(RACKRISE_GATEWAY_OIDC_GROUPS_CLAIM), in which {provider.name} should list names of "
            f"your groups. Then they should {_LIST_GROUP} there.",
        )
    if rights is None:
        async with gateway.transaction() as session:
            await people_elsewhere.dismiss(session, person.who, at=at)
        raise SignInFailed(
            f"{provider.name} knows you, and none of your groups there may do anything here",
            f"Send this page to an admin, who should {_LIST_GROUP} there.",
        )
    try:
        async with gateway.transaction() as session:
            known = await people_elsewhere.admit(session, person.who, rights, at=at)
            return await people.sign_in(session, known, at)
    except NotSignedIn as error:
        raise SignInFailed(str(error), "An admin of this console can change that.") from None
    except BadPerson as error:
        raise SignInFailed(
            f"your groups give you rights that this console cannot give: {error}",
            "An admin should correct RACKRISE_GATEWAY_OIDC_RIGHTS in the gateway's settings.",
        ) from None


async def _note(
    gateway: Operators,
    provider: Provider,
    failed: SignInFailed,
    person: Identified | None,
    address: str,
) -> None:
    async with gateway.transaction() as session:
        await people_elsewhere.note_refusal(
            session,
            provider.issuer,
            failed.said,
            who=person.who if person else None,
            groups=person.groups if person else (),
            address=address,
            at=gateway.clock(),
        )


def _not_signed_in(
    gateway: Operators,
    request: Request,
    failed: SignInFailed,
    to: str,
    person: Identified | None = None,
) -> Response:
    return page(
        gateway,
        request,
        "not_signed_in.html.j2",
        None,
        status=failed.status,
        failed=failed,
        person=person,
        provider=gateway.provider.name if gateway.provider else "",
        to=own_path(to),
    )
