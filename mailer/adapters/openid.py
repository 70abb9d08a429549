"""Identifies people by a provider of OpenID Connect: authorization code with PKCE (OpenID Connect Core 1.0, RFC 7636).

Authlib and joserfc hold the rules of the protocol. Requests to the provider are bounded in time, size and number.
"""

import asyncio
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import BoundedSemaphore
from typing import Any

import httpx
from authlib.common.security import is_secure_transport
from authlib.oauth2.auth import ClientAuth
from authlib.oauth2.client import DEFAULT_HEADERS
from authlib.oauth2.rfc6749.parameters import prepare_grant_uri, prepare_token_request
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from mailer.adapters.sealing import Sealer
from mailer.domain.accounts import Identity
from mailer.domain.ports import Clock

TIMEOUT_SECONDS = 5
MAX_ANSWER_BYTES = 256 * 1024
MAX_REQUESTS_AT_ONCE = 4
"""More would hold the threads that serve everybody else while the provider does not answer."""
ATTEMPT_LIFETIME = timedelta(minutes=10)
MAX_PARAMETER_CHARS = 4096
_ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""Signatures by the provider's own key. Those with a shared secret, and none at all, are refused."""
_LEEWAY_SECONDS = 60
_DOCUMENT_LIFETIME = timedelta(hours=1)
_MIN_KEY_AGE = timedelta(minutes=1)
"""How often an unknown key may make us ask for the provider's keys again."""


class ProviderDown(Exception):
    """The provider does not answer, or not as OpenID Connect has it. The message is for the log."""


class IdentityRejected(Exception):
    """The provider's answer does not belong to this browser, or proves nothing. The message is for the log."""


class Cancelled(IdentityRejected):
    """The provider says that the person did not sign in, with the error in the message."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What a browser keeps, sealed, between leaving for the provider and coming back."""

    begun_at: float
    next_path: str
    state: str = field(default_factory=partial(secrets.token_urlsafe, 24))
    nonce: str = field(default_factory=partial(secrets.token_urlsafe, 24))
    verifier: str = field(default_factory=partial(secrets.token_urlsafe, 48))


class OpenIdProvider:
    """A provider of OpenID Connect. Safe to share between threads."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: str,
        redirect_uri: str,
        sealer: Sealer,
        clock: Clock,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        """``timeout_seconds`` is for a request with the whole answer to it."""
        self._issuer = issuer
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._sealer = sealer
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._documents: dict[str, tuple[datetime, dict[str, Any]]] = {}
        """URL → when it was fetched, and the document."""
        self._free = BoundedSemaphore(MAX_REQUESTS_AT_ONCE)

    def begin(self, next_path: str) -> tuple[str, str]:
        """Return the URL at the provider to go to, and what the browser has to keep. Raises ProviderDown."""
        attempt = _Attempt(self._clock.now().timestamp(), next_path)
        url = prepare_grant_uri(
            self._endpoint("authorization_endpoint"),
            client_id=self._client_id,
            response_type="code",
            redirect_uri=self._redirect_uri,
            scope="openid email",
            state=attempt.state,
            nonce=attempt.nonce,
            code_challenge=create_s256_code_challenge(attempt.verifier),
            code_challenge_method="S256",
        )
        return url, urlsafe_b64encode(self._sealer.seal(json.dumps(asdict(attempt)).encode())).decode()

    def finish(self, kept: str, answer: Mapping[str, str]) -> tuple[Identity, str]:
        """Return who came back from the provider, and the path to go to next.

        ``kept`` is what ``begin`` returned, ``answer`` the query that the provider sent the browser back with. Raises
        Cancelled, IdentityRejected and ProviderDown.
        """
        attempt = self._open(kept)
        if any(len(value) > MAX_PARAMETER_CHARS for value in answer.values()):
            raise IdentityRejected("The answer is too long.")
        if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise IdentityRejected("The state is that of another attempt.")
        if answer.get("iss", self._issuer) != self._issuer:  # RFC 9207
            raise IdentityRejected("The answer is from another issuer.")
        if error := answer.get("error"):
            raise Cancelled(error)
        tokens = self._exchange(answer.get("code", ""), attempt)
        claims = self._read_id_token(tokens, attempt.nonce)
        if "email" not in claims and "userinfo_endpoint" in self._metadata():
            claims = self._ask_for_address(str(tokens.get("access_token", "")), claims)
        methods = claims.get("amr")
        identity = Identity(
            issuer=self._issuer,
            subject=str(claims["sub"]),
            address=str(claims.get("email", "")),
            is_verified=claims.get("email_verified") is True,
            is_multi_factor=isinstance(methods, list) and "mfa" in methods,
        )
        if not identity.subject or len(identity.subject) > 255:  # OpenID Connect Core 1.0, section 2
            raise IdentityRejected("The subject is empty or too long.")
        return identity, attempt.next_path

    def _open(self, kept: str) -> _Attempt:
        try:
            attempt = _Attempt(**json.loads(self._sealer.open(urlsafe_b64decode(kept[:MAX_PARAMETER_CHARS]))))
        except (ValueError, TypeError):
            raise IdentityRejected("This browser has begun nothing.") from None
        if not 0 <= self._clock.now().timestamp() - attempt.begun_at <= ATTEMPT_LIFETIME.total_seconds():
            raise IdentityRejected("The attempt took too long.")
        return attempt

    def _exchange(self, code: str, attempt: _Attempt) -> dict[str, Any]:
        """Return the tokens for a code (RFC 6749, section 4.1.3)."""
        if not code:
            raise IdentityRejected("There is no code.")
        body = prepare_token_request(
            "authorization_code", redirect_uri=self._redirect_uri, code=code, code_verifier=attempt.verifier
        )
        methods = self._metadata().get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
        method = "client_secret_basic" if "client_secret_basic" in methods else "client_secret_post"
        url, headers, body = ClientAuth(
            self._client_id, self._client_secret, method if self._client_secret else "none"
        ).prepare("POST", self._endpoint("token_endpoint"), dict(DEFAULT_HEADERS), body)
        tokens = self._request("POST", url, headers, body, statuses=(200, 400))
        if "error" in tokens:  # RFC 6749, section 5.2
            raise IdentityRejected(f"The provider gives no tokens: {tokens['error']}")
        return tokens

    def _read_id_token(self, tokens: Mapping[str, Any], nonce: str) -> dict[str, Any]:
        """Return the claims of a valid ID token (OpenID Connect Core 1.0, section 3.1.3.7)."""
        id_token = tokens.get("id_token")
        if not isinstance(id_token, str):
            raise IdentityRejected("There is no ID token.")
        try:
            try:
                token = jwt.decode(id_token, self._keys(_DOCUMENT_LIFETIME), algorithms=_ALGORITHMS)
            except (InvalidKeyIdError, BadSignatureError):  # the provider may have a new key
                token = jwt.decode(id_token, self._keys(_MIN_KEY_AGE), algorithms=_ALGORITHMS)
            claims = CodeIDToken(
                token.claims,
                token.header,
                {
                    "iss": {"essential": True, "value": self._issuer},
                    "aud": {"essential": True, "value": self._client_id},
                },
                {"nonce": nonce, "client_id": self._client_id, "access_token": tokens.get("access_token")},
            )
            claims.validate(now=int(self._clock.now().timestamp()), leeway=_LEEWAY_SECONDS)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise IdentityRejected(f"The ID token is not valid: {error}") from error
        return dict(claims)

    def _ask_for_address(self, access_token: str, claims: dict[str, Any]) -> dict[str, Any]:
        """Add the address, which a provider need not put into the ID token (section 5.4), to the claims."""
        headers = {"Accept": "application/json", "Authorization": f"Bearer {access_token}"}
        info = self._request("GET", self._endpoint("userinfo_endpoint"), headers)
        if info.get("sub") != claims["sub"]:
            raise IdentityRejected("The provider tells about somebody else.")
        return claims | {name: info[name] for name in ("email", "email_verified") if name in info}

    def _metadata(self) -> dict[str, Any]:
        """Return the provider's metadata (OpenID Connect Discovery 1.0, section 4)."""
        url = self._issuer.rstrip("/") + "/.well-known/openid-configuration"
        metadata = self._document(url, _DOCUMENT_LIFETIME)
        if metadata.get("issuer") != self._issuer:
            raise ProviderDown(f"{url} is about the issuer {metadata.get('issuer')}")
        return metadata

    def _endpoint(self, name: str) -> str:
        url = self._metadata().get(name)
        if not isinstance(url, str) or not is_secure_transport(url):
            raise ProviderDown(f"The provider has no {name} with HTTPS.")
        return url

    def _keys(self, max_age: timedelta) -> KeySet:
        return KeySet.import_key_set(self._document(self._endpoint("jwks_uri"), max_age))  # type: ignore[arg-type]

    def _document(self, url: str, max_age: timedelta) -> dict[str, Any]:
        """Return a document of the provider: a known one of at most this age, or else the provider's present one.

        While the provider does not answer, an older one is used.
        """
        at, document = self._documents.get(url, (datetime.min.replace(tzinfo=UTC), None))
        if document is not None and self._clock.now() - at <= max_age:
            return document
        try:
            fetched = self._request("GET", url, {"Accept": "application/json"})
        except ProviderDown:
            if document is None:
                raise
            return document
        self._documents[url] = self._clock.now(), fetched
        return fetched

    def _request(
        self, method: str, url: str, headers: Mapping[str, str], body: str = "", statuses: Collection[int] = (200,)
    ) -> dict[str, Any]:
        """Return the JSON object in the answer to a request. Raises ProviderDown."""
        if not self._free.acquire(blocking=False):
            raise ProviderDown("Too many people are signing in at once.")
        try:
            status, answer = asyncio.run(self._fetch(method, url, headers, body))
            if status not in statuses:
                raise ProviderDown(f"{url} answers {status}")
            document = json.loads(answer)
        except TimeoutError:
            raise ProviderDown(f"The answer of {url} is too slow.") from None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            raise ProviderDown(f"{url}: {error!r}") from error
        finally:
            self._free.release()
        if not isinstance(document, dict):
            raise ProviderDown(f"{url} answers with something else than a JSON object.")
        return document

    async def _fetch(self, method: str, url: str, headers: Mapping[str, str], body: str) -> tuple[int, bytes]:
        """Return the status and body of an answer. Raises TimeoutError, and ProviderDown if the body is too long."""
        answer = bytearray()
        # The timeout of httpx is for each wait for bytes: a server that sends one at a time could hold us for ever.
        async with (
            asyncio.timeout(self._timeout_seconds),
            httpx.AsyncClient(timeout=self._timeout_seconds, headers={"Accept-Encoding": "identity"}) as client,
            client.stream(method, url, headers=headers, content=body or None) as response,
        ):
            async for part in response.aiter_raw():
                answer += part
                if len(answer) > MAX_ANSWER_BYTES:
                    raise ProviderDown(f"The answer of {url} is too long.")
        return response.status_code, bytes(answer)
