"""The certificate authority of one sandbox host: for hosts to which the proxy must put in a secret.

Its key is made when it is first needed, lives in this process's memory only, and ends with it. Only the certificate
goes into sandboxes, and only into those of sessions that have a credential.
"""

from __future__ import annotations

import os
import ssl
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from agents.hands.egress.host_rules import is_named

_AUTHORITY_DAYS = 3650
_LEAF_DAYS = 30
_RENEW = timedelta(days=5)
_EARLIER = timedelta(hours=24)
"""Clocks differ."""
_MOST_HOSTS = 256


@dataclass(frozen=True, slots=True)
class _Leaf:
    context: ssl.SSLContext
    ends: datetime


class Authority:
    """Makes certificates for hosts."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._leaf_key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Egress proxy of this sandbox")])
        self._certificate = self._own_certificate()
        self._leaves: OrderedDict[str, _Leaf] = OrderedDict()

    @property
    def pem(self) -> bytes:
        """The certificate that sandboxes trust."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def context_for(self, host: str) -> ssl.SSLContext:
        """Return what to answer with as *host*; HTTP/1.1 only, and to nobody who asks for another name."""
        leaf = self._leaves.get(host)
        if leaf is None or leaf.ends - _RENEW < datetime.now(UTC):
            leaf = self._leaves[host] = self._leaf(host)
        self._leaves.move_to_end(host)
        while len(self._leaves) > _MOST_HOSTS:
            self._leaves.popitem(last=False)
        return leaf.context

    def _leaf(self, host: str) -> _Leaf:
        ends = datetime.now(UTC) + timedelta(days=_LEAF_DAYS)
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
        certificate = (
            self._builder(x509.Name([]), self._leaf_key.public_key(), ends)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.sni_callback = _only_as(host)
        self._load(context, certificate)
        return _Leaf(context, ends)

    def _load(self, context: ssl.SSLContext, certificate: x509.Certificate) -> None:
        key = self._leaf_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        # The ssl module reads keys from files only; this one is in memory.
        fd = os.memfd_create("leaf", os.MFD_CLOEXEC)
        try:
            os.write(fd, key + certificate.public_bytes(serialization.Encoding.PEM))
            context.load_cert_chain(f"/proc/self/fd/{fd}")
        finally:
            os.close(fd)

    def _own_certificate(self) -> x509.Certificate:
        ends = datetime.now(UTC) + timedelta(days=_AUTHORITY_DAYS)
        usage = x509.KeyUsage(
            digital_signature=False,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        return (
            self._builder(self._name, self._key.public_key(), ends)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .sign(self._key, hashes.SHA256())
        )

    def _builder(
        self, subject: x509.Name, public: ec.EllipticCurvePublicKey, ends: datetime
    ) -> x509.CertificateBuilder:
        own = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(datetime.now(UTC) - _EARLIER)
            .not_valid_after(ends)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own),
                critical=False,
            )
        )


def _only_as(host: str) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], int | None]:
    def check(_connection: ssl.SSLObject, asked: str | None, _context: ssl.SSLContext) -> int | None:
        return None if asked is None or is_named(asked, host) else ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    return check


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)
