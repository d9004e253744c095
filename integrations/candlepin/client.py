"""Candlepin's API as the orchestrator uses it (contract: ``candlepin.md``, section 2.3)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Self, TypeVar
from urllib.parse import quote

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from integrations.candlepin.passing import Passed
from integrations.candlepin.records import (
    ActivationKey,
    Consumer,
    Content,
    Deleted,
    Environment,
    Job,
    JobState,
    NewConsumer,
    Owner,
    Status,
)
from integrations.candlepin.settings import CandlepinSettings, OAuthLogin
from integrations.candlepin.wire import AS_CONSUMER, SYSTEM, Query, Wire
from integrations.errors import Conflict, Refused, Unavailable

__all__ = ["MODE", "Candlepin"]

MODE = "org_environment"
"""Simple content access: the only mode that current clients take (contract, 2.4)."""

_OK, _DELETED, _MISSING, _GONE = 200, 204, 404, 410
M = TypeVar("M", bound=BaseModel)
_KEYS = TypeAdapter(list[ActivationKey])
_CONSUMERS = TypeAdapter(list[Consumer])
_PAGE = 100


class Candlepin:
    """Speaks with one Candlepin. All methods raise from ``integrations.errors``.

    Example:
        async with Candlepin(settings) as candlepin:
            await candlepin.delete_consumer(uuid)

    Args:
        settings: where it is and as whom we speak.
        transport: instead of the network; for tests.
        sleep: awaited between looks at a job.
        clock: seconds, for the deadlines of jobs.
    """

    def __init__(
        self,
        settings: CandlepinSettings,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._wire = Wire(settings, transport=transport)
        self._sleep = sleep
        self._clock = clock

    async def close(self) -> None:
        """Give back connections."""
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def require_normal(self) -> Status:
        """Make sure that it takes changes.

        Raises:
            Unavailable: it is suspended.
        """
        operation = "take changes"
        answer = await self._wire.ask("GET", "/status", operation)
        self._wire.expect(answer, operation, _OK)
        status = self._wire.read(Status, answer, operation)
        if status.mode != "NORMAL":
            said = f"its mode is {status.mode}: {status.mode_reason or 'no reason given'}"
            raise self._wire.error(Unavailable, operation, said)
        return status

    async def owner(self, key: str) -> Owner | None:
        """An organization; None: there is none of this key."""
        return await self._find(Owner, f"/owners/{_part(key)}", f"find the organization {key}")

    async def create_owner(self, key: str) -> Owner:
        """Make an organization that current clients can register in; one of the key is success."""
        body = {
            "key": key,
            "displayName": key,
            "contentPrefix": f"/{key}/$env",
            "contentAccessMode": MODE,
            "contentAccessModeList": MODE,
        }
        operation = f"create the organization {key}"
        try:
            return await self._make(Owner, "/owners", body, operation)
        except Refused as error:
            return await self._or_there(error, self.owner(key))

    async def delete_owner(self, key: str) -> None:
        """Delete an organization with all that is in it; one that is gone is success."""
        await self._delete(f"/owners/{_part(key)}", f"delete the organization {key}")

    async def environment(self, ident: str) -> Environment | None:
        """An environment; None: there is none of this id."""
        path = f"/environments/{_part(ident)}"
        return await self._find(Environment, path, f"find the environment {ident}")

    async def create_environment(self, owner: str, ident: str, name: str) -> Environment:
        """Make an environment under an id of our own choice; one of the id is success."""
        body = {"id": ident, "name": name, "description": None}
        path, operation = f"/owners/{_part(owner)}/environments", f"create the environment {ident}"
        try:
            return await self._make(Environment, path, body, operation)
        except Refused as error:
            return await self._or_there(error, self.environment(ident))

    async def delete_environment(self, ident: str) -> None:
        """Delete an environment; one that is gone is success."""
        await self._delete(f"/environments/{_part(ident)}", f"delete the environment {ident}")

    async def activation_key(self, owner: str, name: str) -> ActivationKey | None:
        """An activation key; None: there is none of this name, or no such organization."""
        operation = f"find the activation key {name} of {owner}"
        path = f"/owners/{_part(owner)}/activation_keys"
        answer = await self._wire.ask("GET", path, operation, query={"name": name})
        if answer.status_code == _MISSING:
            return None
        self._wire.expect(answer, operation, _OK)
        found = self._several(_KEYS, answer, operation)
        return next((one for one in found if one.name == name), None)

    async def create_activation_key(self, owner: str, name: str) -> ActivationKey:
        """Make an activation key; one of this name is success.

        Raises:
            Refused: the name has characters other than ``A-Z a-z 0-9 _ -``.
        """
        path = f"/owners/{_part(owner)}/activation_keys"
        operation = f"create the activation key {name} of {owner}"
        try:
            return await self._make(ActivationKey, path, {"name": name}, operation)
        except Refused as error:
            return await self._or_there(error, self.activation_key(owner, name))

    async def delete_activation_key(self, ident: str) -> None:
        """Delete an activation key by its id; one that is gone is success."""
        await self._delete(f"/activation_keys/{_part(ident)}", f"delete the activation key {ident}")

    async def consumer(self, uuid: str) -> Consumer | Deleted | None:
        """A consumer; Deleted: there was one; None: there has never been one."""
        operation = f"find the consumer {uuid}"
        answer = await self._wire.ask("GET", f"/consumers/{_part(uuid)}", operation)
        if answer.status_code == _MISSING:
            return None
        if answer.status_code == _GONE:
            return Deleted(uuid=uuid)
        self._wire.expect(answer, operation, _OK)
        return self._consumer(answer, operation)

    async def consumers_by_fact(self, owner: str, fact: str, value: str) -> list[Consumer]:
        """An organization's consumers whose fact has a value."""
        operation = f"list the consumers of {owner} whose {fact} is {value}"
        path, found = f"/owners/{_part(owner)}/consumers", list[Consumer]()
        for page in range(1, 101):
            query = {"fact": f"{fact}:{value}", "page": str(page), "per_page": str(_PAGE)}
            answer = await self._wire.ask("GET", path, operation, query=query)
            if answer.status_code == _MISSING:
                break
            self._wire.expect(answer, operation, _OK)
            some = self._several(_CONSUMERS, answer, operation)
            found += some
            if len(some) < _PAGE:
                break
        return found

    async def register(
        self, new: NewConsumer, *, owner: str, keys: Sequence[str], environments: Sequence[str]
    ) -> Consumer:
        """Make a consumer, or give the one that there is under its UUID.

        Args:
            new: what registers, under a UUID of our choice.
            owner: key of its organization.
            keys: names of activation keys; one of them at least must exist.
            environments: ids, by priority; empty: the organization's own content.

        Raises:
            Conflict: another host's consumer has this UUID.
            Refused: no such key, organization or environment.
        """
        operation = f"register {new.name} in {owner}"
        query = {"activation_keys": ",".join(keys)}
        if environments:
            path = f"/environments/{','.join(_part(one) for one in environments)}/consumers"
        else:
            path, query = "/consumers", {"owner": owner, **query}
        answer = await self._wire.ask("POST", path, operation, query=query, body=new.body())
        if answer.status_code == _OK:
            return self._consumer(answer, operation)
        # Two calls for one host at one moment: the second finds what the first has made.
        there = await self.consumer(new.uuid)
        if not isinstance(there, Consumer):
            raise self._wire.error(Refused, operation, self._wire.said(answer))
        if there.name != new.name or there.owner != owner:
            raise Conflict(
                system=SYSTEM,
                address=self.settings.url,
                operation=operation,
                said=f"the UUID {new.uuid} is that of {there.name} in {there.owner}",
                owner=there.name,
            )
        return there

    async def update_consumer(self, uuid: str, changes: Mapping[str, Any]) -> None:
        """Change some keys of a consumer, as its ConsumerDTO has them."""
        operation = f"change the consumer {uuid}"
        answer = await self._wire.ask(
            "PUT", f"/consumers/{_part(uuid)}", operation, body=dict(changes)
        )
        self._wire.expect(answer, operation, _OK, _DELETED)

    async def delete_consumer(self, uuid: str) -> None:
        """Delete a consumer; one that is gone, or has never been, is success."""
        await self._delete(f"/consumers/{_part(uuid)}", f"delete the consumer {uuid}")

    async def content(self, owner: str, ident: str) -> Content | None:
        """An organization's content; None: there is none of this id."""
        path = f"/owners/{_part(owner)}/content/{_part(ident)}"
        return await self._find(Content, path, f"find the content {ident}")

    async def create_content(self, owner: str, content: Content) -> Content:
        """Make content, which an environment can then be given."""
        body = content.model_dump(by_alias=True)
        path = f"/owners/{_part(owner)}/content"
        return await self._make(Content, path, body, f"create the content {content.id}")

    async def promote(self, environment: str, contents: Sequence[str]) -> Job | None:
        """Give content to an environment; None: it has it already."""
        operation = f"promote content to {environment}"
        body = [{"contentId": one, "enabled": True} for one in contents]
        path = f"/environments/{_part(environment)}/content"
        answer = await self._wire.ask("POST", path, operation, body=body)
        if answer.status_code == httpx.codes.CONFLICT:
            return None
        self._wire.expect(answer, operation, _OK)
        return self._wire.read(Job, answer, operation)

    async def demote(self, environment: str, contents: Sequence[str]) -> Job:
        """Take content from an environment."""
        operation, path = (
            f"demote content of {environment}",
            f"/environments/{_part(environment)}/content",
        )
        answer = await self._wire.ask("DELETE", path, operation, query={"content": list(contents)})
        self._wire.expect(answer, operation, _OK)
        return self._wire.read(Job, answer, operation)

    async def finished(self, job: Job) -> Job:
        """Wait until a job has ended.

        Raises:
            Refused: it failed, or was cancelled; with what it says itself.
            Unavailable: it did not end within ``job_timeout``.
        """
        operation = f"finish the job {job.name or job.id}"
        end, pause = self._clock() + self.settings.job_timeout, 0.2
        while not job.state.final:
            if self._clock() > end:
                said = f"it is {job.state} after {self.settings.job_timeout:g} s"
                raise self._wire.error(Unavailable, operation, said)
            await self._sleep(pause)
            pause = min(pause * 1.5, 5)
            answer = await self._wire.ask("GET", job.status_path, operation)
            self._wire.expect(answer, operation, _OK)
            job = self._wire.read(Job, answer, operation)
        if job.state is not JobState.FINISHED:
            raise self._wire.error(Refused, operation, f"it is {job.state}: {job.result}")
        return job

    async def pass_on(
        self,
        method: str,
        path: str,
        *,
        query: Query,
        headers: Mapping[str, str],
        body: bytes | None = None,
        consumer: str | None = None,
    ) -> Passed:
        """Pass a host's request on; whoever called closes what comes back.

        Args:
            method: of HTTP.
            path: below Candlepin's URL, checked by whoever calls.
            query: as the host sent it.
            headers: those that may be passed on.
            body: as the host sent it.
            consumer: in whose name; None: in nobody's, which is enough for ``/status``.

        Raises:
            Unavailable: Candlepin is away; its own refusals are answers like others.
            RuntimeError: the login is Basic, by which nobody can speak for a consumer.
        """
        if consumer is not None and not isinstance(self.settings.login, OAuthLogin):
            raise RuntimeError("only OAuth lets us speak in the name of a consumer")
        whose = {AS_CONSUMER: consumer} if consumer is not None else {}
        request = self._wire.build(method, path, query, {**headers, **whose}, body)
        operation = f"answer {method} {path}"
        answer = await self._wire.send(request, operation, stream=True)
        # 429 with its Retry-After is for the host to heed.
        if (away := self._wire.absence(answer)) is not None:
            await answer.aclose()
            raise self._wire.error(Unavailable, operation, away)
        return Passed(answer.status_code, answer.headers, answer)

    def _consumer(self, answer: httpx.Response, operation: str) -> Consumer:
        found = self._wire.read(Consumer, answer, operation)
        return found.model_copy(update={"document": answer.content})

    async def _find(self, shape: type[M], path: str, operation: str) -> M | None:
        answer = await self._wire.ask("GET", path, operation)
        if answer.status_code == _MISSING:
            return None
        self._wire.expect(answer, operation, _OK)
        return self._wire.read(shape, answer, operation)

    async def _make(self, shape: type[M], path: str, body: Mapping[str, Any], operation: str) -> M:
        answer = await self._wire.ask("POST", path, operation, body=dict(body))
        # Creates answer 200, and anything else is none (contract).
        self._wire.expect(answer, operation, _OK)
        return self._wire.read(shape, answer, operation)

    async def _or_there(self, refusal: Refused, looking: Awaitable[M | None]) -> M:
        """What somebody else has made at the same moment; if nobody has, it was refused for good.

        What is taken is refused like what is wrong: 400, and not 409 (contract).
        """
        there = await looking
        if there is None:
            raise refusal
        return there

    async def _delete(self, path: str, operation: str) -> None:
        answer = await self._wire.ask("DELETE", path, operation)
        self._wire.expect(answer, operation, _DELETED, _MISSING, _GONE)

    def _several(
        self, shape: TypeAdapter[list[M]], answer: httpx.Response, operation: str
    ) -> list[M]:
        try:
            return shape.validate_json(answer.content)
        except ValidationError as error:
            raise self._wire.unexpected(operation, error) from error


def _part(text: str) -> str:
    """One segment of a path."""
    return quote(text, safe="")
