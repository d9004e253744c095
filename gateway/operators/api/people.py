"""People and tokens over the API: for admins, and for everybody what is their own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from gateway.answers import Refusal
from gateway.operators.context import Operators
from gateway.operators.sessions import Asking
from inventory import acts_on_people, people, rights
from inventory.acts_on_people import Rights
from inventory.models import Person, Role
from inventory.rights import Actor

__all__ = ["people_routes"]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewPerson(_Body):
    """Somebody who is to sign in."""

    name: str
    role: Role
    password: Annotated[SecretStr | None, Field(description="None: signs in elsewhere.")] = None
    sites: list[str] = Field(default_factory=list)
    host_groups: list[str] = Field(default_factory=list)


class Change(_Body):
    """What somebody may do from now on."""

    role: Role
    sites: list[str] = Field(default_factory=list)
    host_groups: list[str] = Field(default_factory=list)
    disabled: bool = False


class NewToken(_Body):
    """A token for a program."""

    name: Annotated[str, Field(min_length=1, max_length=100, description="What it is for.")]
    role: Role
    days: Annotated[int | None, Field(ge=1, le=3650, description="None: until removed.")] = 90


@dataclass(frozen=True)
class PersonRow:
    """Somebody who may sign in."""

    name: str
    role: Role
    sites: list[str]
    host_groups: list[str]
    disabled_at: datetime | None


@dataclass(frozen=True)
class TokenRow:
    """One of one's own tokens."""

    name: str
    role: Role
    made_at: datetime
    expires_at: datetime | None
    used_at: datetime | None


@dataclass(frozen=True)
class TokenAnswer:
    """A token, shown this once."""

    token: str


def _row(one: Person) -> PersonRow:
    return PersonRow(one.name, one.role, one.sites, one.host_groups, one.disabled_at)


def people_routes(gateway: Operators) -> APIRouter:
    """``/people`` for admins, ``/tokens`` and ``/me`` for everybody."""
    router = APIRouter(tags=["people"])

    @router.get("/me")
    async def get_me(actor: Asking) -> PersonRow:
        """Who you are here, with what the token leaves you of your rights."""
        scope = actor.scope
        return PersonRow(
            actor.name, actor.role, sorted(scope.sites), sorted(scope.host_groups), None
        )

    @router.get("/people")
    async def list_people(actor: Asking) -> list[PersonRow]:
        """Everybody who may sign in, by name."""
        rights.require(actor, Role.ADMIN, everywhere=True)
        async with gateway.transaction() as session:
            return [_row(one) for one in await people.everybody(session)]

    @router.post("/people", status_code=201)
    async def add_person(wish: NewPerson, actor: Asking) -> PersonRow:
        """Let somebody sign in. Sent again it is refused, for the name is taken.

        An `Idempotency-Key` is of no use here: what was sent would be kept as a hash that is
        computed fast, and a password is in it.
        """
        password = None if wish.password is None else wish.password.get_secret_value()
        async with gateway.transaction() as session:
            made = await acts_on_people.add(
                session,
                actor,
                wish.name,
                Rights(wish.role, wish.sites, wish.host_groups),
                password=password,
                at=gateway.clock(),
            )
            return _row(made)

    @router.patch("/people/{name}")
    async def change_person(name: str, wish: Change, actor: Asking) -> PersonRow:
        """Change what somebody may do, or believe nothing of them any more."""
        async with gateway.transaction() as session:
            changed = await acts_on_people.change(
                session,
                actor,
                name,
                Rights(wish.role, wish.sites, wish.host_groups),
                disabled=wish.disabled,
                at=gateway.clock(),
            )
            return _row(changed)

    @router.get("/tokens")
    async def list_tokens(actor: Asking) -> list[TokenRow]:
        """Your tokens by name."""
        async with gateway.transaction() as session:
            found = await people.tokens_of(session, _id(actor))
        return [
            TokenRow(one.name, one.role, one.made_at, one.expires_at, one.used_at) for one in found
        ]

    @router.post("/tokens", status_code=201)
    async def add_token(wish: NewToken, actor: Asking) -> TokenAnswer:
        """Make a token for a program, which may do at most what yours may.

        An `Idempotency-Key` is of no use here, for a secret is not kept to be answered again. Sent
        again it is refused, for the name is taken.
        """
        lasts = None if wish.days is None else timedelta(days=wish.days)
        async with gateway.transaction() as session:
            token = await acts_on_people.add_token(
                session, actor, actor.name, wish.name, wish.role, lasts=lasts, at=gateway.clock()
            )
        return TokenAnswer(token)

    @router.delete("/tokens/{name}", status_code=204)
    async def remove_token(name: str, actor: Asking) -> None:
        """Take one of your tokens away."""
        async with gateway.transaction() as session:
            await acts_on_people.remove_token(session, actor, actor.name, name, at=gateway.clock())

    return router


def _id(actor: Actor) -> int:
    if actor.person_id is None:
        raise Refusal(403, "only people have tokens")
    return actor.person_id
