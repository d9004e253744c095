"""Open pages of one browser ask once whether it is still signed in, and hear when it is not."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import Request

from gateway.operators.console import watch as module
from gateway.operators.console.watch import Watch
from gateway.operators.sessions import SignedIn, SignInFirst
from inventory.models import Door, Role
from inventory.rights import Actor

REQUEST = Request({"type": "http"})


def who(secret: str) -> SignedIn:
    return SignedIn(Actor("ada", Door.CONSOLE, Role.VIEWER), secret)


async def test_two_hundred_pages_of_two_browsers_ask_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0

    async def signed_in(request: Request) -> SignedIn:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return who(f"new {asked}")

    monkeypatch.setattr(module, "signed_in", signed_in)
    watch = Watch()
    pages = [who("one"), who("other")] * 100
    found = await asyncio.gather(*(watch.look(REQUEST, one) for one in pages))
    assert asked == 2
    assert [one.secret for one in found] == ["new 1", "new 2"] * 100


async def test_whoever_is_signed_out_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [who("one"), None]

    async def signed_in(request: Request) -> SignedIn:
        if (answer := answers.pop(0)) is None:
            raise SignInFirst("/")
        return answer

    monkeypatch.setattr(module, "signed_in", signed_in)
    watch = Watch()
    assert await watch.look(REQUEST, who("one")) == who("one")
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.0)
    with pytest.raises(SignInFirst):
        await watch.look(REQUEST, who("one"))
