"""A sign-in provider (OpenID Connect) on loopback that signs everybody in as the person whom the test names."""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.support.keys import make_key, public_part, sign

CLIENT_ID = "treering-app"
CLIENT_SECRET = "known-to-the-provider"


@dataclass
class OidcProvider:
    """Issues an id token and an access token for each sign-in.

    Attributes:
        algorithm: What it signs with: HS256, ES256 or RS256.
        sub: Who signs in next.
        id_claims: Further claims of the id token.
        access_claims: Claims of the access token; None for one that is no JWT.
        lifetime_s: How long both hold; below zero they are born expired, except to the client that checks the nonce.
    """

    algorithm: str = "ES256"
    sub: str = "user_ana"
    id_claims: dict[str, Any] = field(default_factory=dict)
    access_claims: dict[str, Any] | None = None
    lifetime_s: int = 3600
    url: str = ""
    _nonces: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> dict[str, Any]:
        return make_key(self.algorithm, f"provider-{self.algorithm}")

    def start(self) -> None:
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.provider = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def sign_in(self) -> dict[str, str]:
        """Go the whole way of a sign-in without a browser; tokens by the names that Streamlit gives them."""
        query = urlencode({"redirect_uri": "http://app.test/oauth2callback", "state": "s", "nonce": "n"})
        sent_back = httpx.get(f"{self.url}/authorize?{query}").headers["location"]
        code = parse_qs(urlsplit(sent_back).query)["code"][0]
        answer = httpx.post(f"{self.url}/token", data={"grant_type": "authorization_code", "code": code}).json()
        return {"id": answer["id_token"], "access": answer["access_token"]}

    def metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [self.algorithm],
        }

    def begin(self, nonce: str) -> str:
        code = secrets.token_hex(8)
        self._nonces[code] = nonce
        return code

    def tokens(self, code: str) -> dict[str, Any]:
        now = int(time.time())
        common = {"iss": self.url, "sub": self.sub, "iat": now, "exp": now + self.lifetime_s}
        # An id token is checked when it arrives, and expires while the page is open.
        id_token = sign(self.key, {**common, "aud": CLIENT_ID, "nonce": self._nonces.pop(code), **self.id_claims})
        access = secrets.token_hex(16) if self.access_claims is None else sign(self.key, common | self.access_claims)
        return {"id_token": id_token, "access_token": access, "token_type": "Bearer", "expires_in": self.lifetime_s}


class _Server(ThreadingHTTPServer):
    provider: OidcProvider


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        provider, parts = self.server.provider, urlsplit(self.path)
        if parts.path == "/.well-known/openid-configuration":
            return self._send(provider.metadata())
        if parts.path == "/jwks":
            return self._send({"keys": [public_part(provider.key)]})
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        code = provider.begin(query.get("nonce", ""))
        self.send_response(302)
        self.send_header("Location", f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}")
        self.send_header("Content-Length", "0")
        self.end_headers()
        return None

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        self._send(self.server.provider.tokens(body["code"][0]))

    def _send(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 -- the name in http.server
        """Keep quiet."""
