"""Signed messages: an Ed25519 signature of 64 bytes and the XML it signs, in base64 inside a `SignedMessage`.

Errors here are answered by HTTP status, as the specification's appendix on transport says; everything later by message.
"""

from __future__ import annotations

import logging
from base64 import b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Any

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey
from shapeshifter_uftp.uftp import PayloadMessage, SignedMessage, UsefRole
from xsdata.exceptions import ParserError
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

MOST_BYTES = 1_000_000
SIGNATURE_BYTES = 64
AUTHENTICATION_TIMEOUT = 419
_parser = XmlParser(context=XmlContext(), config=ParserConfig(fail_on_converter_warnings=True))
logging.getLogger("shapeshifter-uftp").setLevel(logging.ERROR)


class Refused(Exception):
    """A request that is no message: `status` is the HTTP status it is answered with."""

    def __init__(self, status: int, why: str) -> None:
        self.status = status
        super().__init__(why)


@dataclass(frozen=True)
class Opened:
    """A message whose signature holds; `sealed` is the proof of it, `message` an object of the library."""

    domain: str
    sealed: bytes
    message: Any

    @property
    def digest(self) -> str:
        """SHA-256 of the XML."""
        return sha256(xml_of(self.sealed)).hexdigest()


def xml_of(sealed: bytes) -> bytes:
    """The XML of a sealed message."""
    return sealed[SIGNATURE_BYTES:]


def open_envelope(body: bytes, content_type: str, keys: Mapping[str, str]) -> Opened:
    """The message in the body of a request from one of the grid operators `keys` names, {domain: public key}.

    Raises Refused.
    """
    kind, _, parameter = content_type.lower().partition(";")
    charset = parameter.strip().removeprefix("charset=").strip('"') or "utf-8"
    if kind.strip() not in ("text/xml", "application/xml") or charset not in ("utf-8", "utf8"):
        raise Refused(HTTPStatus.BAD_REQUEST, "Content-Type must be text/xml; charset=utf-8")
    if len(body) > MOST_BYTES:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"more than {MOST_BYTES} bytes")
    signed = parse(body)
    if not isinstance(signed, SignedMessage) or not isinstance(signed.body, bytes):
        raise Refused(HTTPStatus.BAD_REQUEST, "no SignedMessage")
    key = keys.get(str(signed.sender_domain))
    if key is None or signed.sender_role != UsefRole.DSO:
        sender = f"{signed.sender_domain} as {signed.sender_role}"
        raise Refused(AUTHENTICATION_TIMEOUT, f"no public key of {sender} is known")
    try:
        xml = VerifyKey(b64decode(key)).verify(signed.body)
    except (BadSignatureError, ValueError, TypeError):
        raise Refused(HTTPStatus.UNAUTHORIZED, "the signature does not fit the message") from None
    message = parse(xml)
    if not isinstance(message, PayloadMessage):
        raise Refused(HTTPStatus.BAD_REQUEST, f"{type(message).__name__} is no message")
    return Opened(str(signed.sender_domain), signed.body, message)


def parse(xml: bytes) -> Any:
    """The library's object for a document without a document type. Raises Refused."""
    try:
        text = xml.decode("utf-8")
    except UnicodeDecodeError:
        raise Refused(HTTPStatus.BAD_REQUEST, "the document is not in UTF-8") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text or "\0" in text:
        raise Refused(HTTPStatus.BAD_REQUEST, "a document type is not taken")
    try:
        return _parser.from_bytes(xml)
    except (ParserError, TypeError, ValueError) as why:
        raise Refused(HTTPStatus.BAD_REQUEST, f"not to the schema: {' '.join(str(why).split())[:300]}") from None


def key_fault(text: str, private: bool = False) -> str | None:
    """Why `text` is no base64 key of Ed25519: 32 bytes, a private one with its public half 64."""
    try:
        raw = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return "is not base64"
    if len(raw) != (64 if private else 32):
        return f"has {len(raw)} bytes, {64 if private else 32} are needed"
    if private and bytes(SigningKey(raw[:32]).verify_key) != raw[32:]:
        return "is no private key: its public half does not belong to it"
    return None
