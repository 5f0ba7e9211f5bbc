"""The folder of a development authority, and the credentials that a server or a client finds in one."""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from controller.access import Identity, Role, identity
from controller.errors import InputError
from controller.pki import Authority, Credentials

AUTHORITY_DAYS = 3650
IDS: Mapping[Role, str] = {
    Role.DSO: "dso",
    Role.AGGREGATOR: "aggregator",
    Role.DRIVER: "home-1/boiler",
    Role.PARTICIPANT: "home-1",
    Role.METER: "gateway",
    Role.OPERATOR: "operator",
    Role.VALIDATOR: "validator",
    Role.AUDITOR: "auditor",
}
"""Whom `pki init` makes an identity for: one of each role."""
SIGNERS = frozenset({Role.DSO, Role.AGGREGATOR, Role.PARTICIPANT, Role.METER, Role.VALIDATOR})
"""Roles that sign what they say, and so get a signing key beside their certificate."""
HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,62}\.?)*|[0-9a-fA-F:.]+")
SECRET_MODE = 0o600
PUBLIC_MODE = 0o644


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerFiles:
    """What a server shows, and by which authority it knows its callers.

    Attributes
    ----------
    own : certificate and key
    authority : PEM of the authority whose clients are let in
    warnings : what a person should mend
    """

    own: Credentials
    authority: bytes
    warnings: tuple[str, ...] = field(default=())


def init(folder: Path, *, grid: str, days: int, hosts: Sequence[str]) -> list[Path]:
    """The files of a new authority, its server and one identity of each role.

    Raises
    ------
    InputError
        If a name is malformed, a file is there already, or the folder cannot be written; nothing was left behind.
    """
    for host in hosts:
        _check_host(host)
    validity = timedelta(days=days)
    authority = Authority(validity=max(validity, timedelta(days=AUTHORITY_DAYS)))
    files = _pair("ca", authority.credentials()) | _pair("server", authority.server(hosts, validity=validity))
    for role, id_ in IDS.items():
        files |= _identity(authority, role.value, f"spiffe://{grid}/{role.value}/{id_}", validity)
    return _write(folder, files, replace=False)


def issue(folder: Path, uri: str, *, name: str | None, days: int, hosts: Sequence[str], replace: bool) -> list[Path]:
    """The files of one more identity, or of the server where ``uri`` is ``server``.

    A server's certificate that is replaced keeps its names where ``hosts`` states none.

    Raises
    ------
    InputError
        As `init`; also where the folder holds no authority.
    """
    authority = Authority(Credentials(certificate=_read(folder / "ca.pem"), key=_read(folder / "ca.key")))
    validity = timedelta(days=days)
    if uri == "server":
        for host in hosts:
            _check_host(host)
        stem = name or "server"
        if replace and not hosts:
            hosts = _hosts(folder / f"{stem}.pem")
        return _write(folder, _pair(stem, authority.server(hosts, validity=validity)), replace=replace)
    if hosts:
        raise InputError("--host: got it for a client, wanted it for server alone")
    known = identity(uri)
    if known is None:
        roles = ", ".join(role.value for role in Role)
        raise InputError(f"URI: got {uri!r}, wanted server or spiffe://GRID/ROLE/ID, the role one of {roles}")
    stem = name or f"{known.role.value}-{known.id.replace('/', '-')}"
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", stem):
        raise InputError(f"--out: got {stem!r}, wanted a file name without its ending: letters, digits, '.', '_', '-'")
    files = _identity(authority, stem, uri, validity)
    if replace:
        # A renewed certificate goes on with the signing key that the service knows its holder by.
        files = {name: file for name, file in files.items() if ".sign." not in name or not (folder / name).exists()}
    return _write(folder, files, replace=replace)


def read_server(folder: Path, now: datetime | None = None) -> ServerFiles:
    """What `serve` needs of a folder.

    Raises
    ------
    InputError
        If a file is missing or malformed, the key is another certificate's, or the certificate is not valid now.
    """
    own = Credentials(certificate=_read(folder / "server.pem"), key=_read(folder / "server.key"))
    authority = _read(folder / "ca.pem")
    _certificates(folder / "ca.pem", authority)
    certificate = _certificates(folder / "server.pem", own.certificate)[0]
    _check_key(folder / "server.key", own.key, certificate)
    instant = now or datetime.now(UTC)
    if not certificate.not_valid_before_utc <= instant <= certificate.not_valid_after_utc:
        raise InputError(
            f"{folder / 'server.pem'}: got a certificate for {certificate.not_valid_before_utc:%Y-%m-%d} to "
            f"{certificate.not_valid_after_utc:%Y-%m-%d}, wanted one that is valid now"
        )
    return ServerFiles(own=own, authority=authority, warnings=_open_keys(folder, ("server.key", "ca.key")))


def read_client(folder: Path, name: str) -> ServerFiles:
    """The credentials of an identity of a folder, and the authority that its server is known by."""
    own = Credentials(certificate=_read(folder / f"{name}.pem"), key=_read(folder / f"{name}.key"))
    _check_key(folder / f"{name}.key", own.key, _certificates(folder / f"{name}.pem", own.certificate)[0])
    return ServerFiles(own=own, authority=_read(folder / "ca.pem"))


def read_identity(folder: Path, name: str) -> Identity:
    """Who a certificate of a folder says that its holder is.

    Raises
    ------
    InputError
        If it says nothing that the service would believe.
    """
    path = folder / f"{name}.pem"
    certificate = _certificates(path, _read(path))[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as err:
        raise InputError(f"{path}: got a certificate without names, wanted one with spiffe://GRID/ROLE/ID") from err
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    known = identity(uris[0]) if len(uris) == 1 else None
    if known is None:
        raise InputError(f"{path}: got URIs {uris}, wanted exactly one, spiffe://GRID/ROLE/ID")
    return known


def _identity(authority: Authority, stem: str, uri: str, validity: timedelta) -> dict[str, bytes]:
    files = _pair(stem, authority.client(uri, validity=validity))
    known = identity(uri)
    if known is None:
        raise InputError(f"--grid: got {uri!r}, wanted a lower-case letter, then letters, digits and '-'")
    if known.role in SIGNERS:
        key = Ed25519PrivateKey.generate()
        files[f"{stem}.sign.key"] = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        files[f"{stem}.sign.pub"] = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    return files


def _pair(stem: str, credentials: Credentials) -> dict[str, bytes]:
    return {f"{stem}.pem": credentials.certificate, f"{stem}.key": credentials.key}


def _hosts(path: Path) -> list[str]:
    """Names and addresses that a server's certificate is for; none where there is no such file."""
    if not path.exists():
        return []
    certificate = _certificates(path, _read(path))[0]
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [
        *names.get_values_for_type(x509.DNSName),
        *(str(address) for address in names.get_values_for_type(x509.IPAddress)),
    ]


def _check_host(host: str) -> None:
    if not HOST.fullmatch(host):
        raise InputError(f"--host: got {host!r}, wanted a host name or an address")


def _write(folder: Path, files: Mapping[str, bytes], *, replace: bool) -> list[Path]:
    written: list[Path] = []
    try:
        fresh = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        taken = [name for name in files if (folder / name).exists()]
        if taken and not replace:
            raise InputError(f"{folder / taken[0]}: is there already, and is not overwritten")
        try:
            for name, content in files.items():
                written.append(_put(folder / name, content, replace=replace))
        except OSError:
            for path in [] if replace else written:
                path.unlink()
            if fresh:
                folder.rmdir()
            raise
    except OSError as err:
        raise InputError(f"{folder}: cannot be written: {err}") from err
    return written


def _put(path: Path, content: bytes, *, replace: bool) -> Path:
    """Write a file that is never seen half, and a key that nobody else can read for a moment."""
    mode = SECRET_MODE if path.suffix == ".key" else PUBLIC_MODE
    part = path.with_name(f".{path.name}.part") if replace else path
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    if replace:
        part.replace(path)
    return path


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise InputError(f"{path}: cannot be read: {err.strerror or err}; gridpact pki init makes one") from err


def _certificates(path: Path, pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as err:
        raise InputError(f"{path}: got no certificate in PEM, wanted one") from err


def _check_key(path: Path, pem: bytes, certificate: x509.Certificate) -> None:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as err:
        raise InputError(f"{path}: got no private key in PEM without a password, wanted one") from err
    if key.public_key() != certificate.public_key():
        raise InputError(f"{path}: got the key of another certificate, wanted that of {path.with_suffix('.pem')}")


def _open_keys(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Keys that others than their owner can read."""
    warnings = []
    for name in names:
        path = folder / name
        if path.exists() and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            warnings.append(f"{path}: others can read this key; chmod 600 {path}")
    return tuple(warnings)
