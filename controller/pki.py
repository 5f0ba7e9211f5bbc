"""A certificate authority for development: one root, short-lived leaves with SPIFFE URIs."""

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from controller.errors import InputError

VALIDITY = timedelta(days=7)
CLOCK_SKEW = timedelta(minutes=5)
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """PEM certificate and private key."""

    certificate: bytes
    key: bytes = field(repr=False)


class Authority:
    """A development authority.

    Parameters
    ----------
    kept : its certificate and key, as `credentials` gave them; None makes new ones
    validity : how long its own certificate lasts, where it is made
    """

    def __init__(self, kept: Credentials | None = None, *, validity: timedelta = VALIDITY) -> None:
        if kept is not None:
            self._key, self._certificate = _load(kept)
        else:
            self._key = ec.generate_private_key(ec.SECP256R1())
            self._certificate = _root(self._key, validity)
        self.certificate: bytes = self._certificate.public_bytes(serialization.Encoding.PEM)

    def credentials(self) -> Credentials:
        """The authority's own certificate and key, to be kept."""
        return Credentials(certificate=self.certificate, key=_pem(self._key))

    def server(self, hosts: Sequence[str] = (), *, validity: timedelta = VALIDITY) -> Credentials:
        """Credentials of a server on this machine (localhost, 127.0.0.1 and ::1) that is called ``hosts`` as well."""
        names = [_host(name) for name in dict.fromkeys((*LOCAL_NAMES, *hosts))]
        return self._issue("server", names, ExtendedKeyUsageOID.SERVER_AUTH, validity)

    def client(self, uri: str, *, validity: timedelta = VALIDITY) -> Credentials:
        """Credentials of the identity ``spiffe://GRID/ROLE/ID``."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)]
        return self._issue("client", names, ExtendedKeyUsageOID.CLIENT_AUTH, validity)

    def _issue(
        self,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        validity: timedelta,
    ) -> Credentials:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        # What its issuer does not outlive would be refused with it.
        builder = _builder(subject, self._certificate.subject, key.public_key(), validity, self._certificate)
        certificate = (
            builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        return Credentials(certificate=certificate.public_bytes(serialization.Encoding.PEM), key=_pem(key))


def _root(key: ec.EllipticCurvePrivateKey, validity: timedelta) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Gridpact development authority")])
    return (
        _builder(name, name, key.public_key(), validity, None)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )


def _load(kept: Credentials) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    try:
        key = serialization.load_pem_private_key(kept.key, password=None)
        certificate = x509.load_pem_x509_certificate(kept.certificate)
    except (ValueError, TypeError) as err:
        raise InputError(f"authority: got no certificate and key in PEM ({err}), wanted what pki init wrote") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise InputError("authority: got a key that is not the certificate's, wanted what pki init wrote")
    return key, certificate


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public_key: ec.EllipticCurvePublicKey,
    validity: timedelta,
    within: x509.Certificate | None,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    end = now + validity
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(end if within is None else min(end, within.not_valid_after_utc))
        # Strict verifiers want to find the issuer by its key.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
