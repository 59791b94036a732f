"""The guard: finds out who makes a request, whether that one may, and how often; pure ASGI, ahead of everything that costs."""

import math
from collections.abc import Mapping

import structlog
from redis.exceptions import RedisError
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ays_store.api_keys import Scope as KeyScope
from ays_store.api_keys import holds_key, id_of
from ays_store.origin import ANONYMOUS
from service.access.caller import NOBODY, STRANGER, Caller
from service.access.hosts import is_local
from service.access.known_keys import KnownKeys
from service.access.rates import Admission, Admissions, Rate
from service.access.refusals import PER_MINUTE, Refusals
from service.access.rules import scope_needed
from service.handlers import redis_problem
from service.problems import ProblemError, response

_CHALLENGE = 'Bearer realm="ays"'
_FIX = "send the header `Authorization: Bearer ays_...`; the operator of the service makes keys with `ays keys create`"


class Guard:
    """Lets a request pass with its caller in `request.state.caller`, or answers it with a problem.

    Args:
        app: the application behind.
        required: whether keys are asked for.
        rates: the rate of each scope that a request may need.
        anonymous_rates: whether those who are not asked for a key have rates, too: all of them together.
        open_metrics: whether `/metrics` is open to everybody.
    """

    def __init__(self, app: ASGIApp, *, required: bool, rates: Mapping[KeyScope, Rate], anonymous_rates: bool, open_metrics: bool) -> None:
        self._app = app
        self._required = required
        self._rates = {scope: rate for scope, rate in rates.items() if rate.per_minute}
        self._anonymous_rates = anonymous_rates
        self._open_metrics = open_metrics
        self._refusals = Refusals()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            admission = await self._admit(scope)
        except ProblemError as problem:
            await response(problem, instance=_shown(scope))(scope, receive, send)
            return
        personal = scope["state"]["caller"].id != ANONYMOUS
        if admission is None and not personal:
            await self._app(scope, receive, send)
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(_counts(admission) if admission else {})
                if personal:
                    # What a key may read, no cache may keep for others; the browser's own must tell keys apart.
                    headers["cache-control"] = headers.get("cache-control", "no-store").replace("public", "private")
                    headers.add_vary_header("Authorization")
            await send(message)

        await self._app(scope, receive, send_marked)

    async def _admit(self, scope: Scope) -> Admission | None:
        if b"ays_" in scope["query_string"] or "ays_" in scope["path"]:
            _refuse_in_url(scope)
        needed = scope_needed(scope["method"], scope["path"], open_metrics=self._open_metrics)
        state = scope["state"]
        # Also asked of each request: it may have come through a proxy, or to a server that listens where our settings do not say.
        required = self._required or not is_local(scope)
        if needed is None:
            state["caller"] = STRANGER if required else NOBODY
            return None
        caller = await self._caller(scope, state["known_keys"]) if required else NOBODY
        state["caller"] = caller
        if not caller.scope.includes(needed):
            raise _forbidden(caller, needed)
        rate = self._rates.get(needed)
        if rate is None or not (required or self._anonymous_rates):
            return None
        admissions: Admissions = state["admissions"]
        admission = await admissions.admit(caller.id, rate)
        if not admission.granted:
            raise _too_many(admission)
        return admission

    async def _caller(self, scope: Scope, known: KnownKeys) -> Caller:
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), None)
        if sent is None:
            raise _unauthorized(received="no key", challenge=_CHALLENGE)
        kind, _, secret = sent.decode("latin-1").partition(" ")
        key_id = id_of(secret.strip()) if kind.lower() == "bearer" else None
        address = scope["client"][0] if scope.get("client") else ""
        wait = self._refusals.wait_seconds(address)
        # A key that was good lately is never held up by what others try from the same address.
        if wait and (key_id is None or not known.knows(key_id)):
            raise _too_many_refused(wait)
        if key_id is not None:
            try:
                key = await known.find(key_id)
            except RedisError as error:
                raise redis_problem(error) from error
            if key is not None and key.opened_by(secret.strip()):
                structlog.contextvars.bind_contextvars(key=key.id)
                return Caller(key.id, key.scope)
        self._refusals.count(address)
        # Not a word on which part was wrong, nor the key itself.
        received = "a key that is unknown here, or was revoked" if key_id else "something that is no key"
        raise _unauthorized(received=received, challenge=f'{_CHALLENGE}, error="invalid_token"')


def _shown(scope: Scope) -> str:
    return "/" if holds_key(scope["path"]) else scope["path"]


def _refuse_in_url(scope: Scope) -> None:
    if not holds_key(scope["path"]) and not holds_key(scope["query_string"].decode("latin-1")):
        return
    raise ProblemError(
        400,
        "there is an API key in the URL, where logs, histories and proxies keep it",
        received="a URL with a key",
        expected="the key in the header Authorization",
        fix=f"{_FIX}; have this key revoked, it is not secret any more",
    )


def _unauthorized(*, received: str, challenge: str) -> ProblemError:
    detail, headers = "this service asks for an API key", {"www-authenticate": challenge}
    return ProblemError(401, detail, received=received, expected="a valid API key", fix=_FIX, headers=headers)


def _forbidden(caller: Caller, needed: KeyScope) -> ProblemError:
    return ProblemError(
        403,
        f"the API key {caller.id} may not do this",
        received=f"a key of scope {caller.scope.value}",
        expected=f"a key of scope {needed.value}",
        fix=f"ask the operator for a key of scope {needed.value}: `ays keys create --scope {needed.value}`",
        headers={"www-authenticate": f'{_CHALLENGE}, error="insufficient_scope", scope="{needed.value}"'},
    )


def _too_many(admission: Admission) -> ProblemError:
    seconds = max(1, math.ceil(admission.wait_seconds))
    return ProblemError(
        429,
        f"too many {admission.rate.name} requests with this API key",
        received=f"more than {admission.rate.per_minute} in a minute",
        expected=f"at most {admission.rate.per_minute} {admission.rate.name} requests in a minute",
        fix=f"try again in {seconds} s; keep answers for as long as their Cache-Control says",
        headers={"retry-after": str(seconds), **_counts(admission)},
    )


def _too_many_refused(seconds: int) -> ProblemError:
    return ProblemError(
        429,
        "too many keys from this address were refused",
        received=f"more than {PER_MINUTE} wrong keys in a minute",
        expected="a valid API key",
        fix=f"try again in {seconds} s with the right key",
        headers={"retry-after": str(seconds)},
    )


def _counts(admission: Admission) -> dict[str, str]:
    """The fields of draft-ietf-httpapi-ratelimit-headers."""
    name, rate = admission.rate.name, admission.rate
    return {
        "ratelimit-policy": f'"{name}";q={rate.per_minute};w=60',
        "ratelimit": f'"{name}";r={admission.left};t={math.ceil(admission.reset_seconds)}',
    }
