"""The folder of a development authority."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from controller.access import Role, identity
from controller.cli import main
from controller.credentials import ReloadedCredentials
from controller.errors import InputError
from controller.pki_files import read_server

ROLES = {role.value for role in Role}


@pytest.fixture
def folder(tmp_path):
    assert main(["pki", "init", str(tmp_path / "pki"), "--grid", "village"]) == 0
    return tmp_path / "pki"


def certificate(path):
    return x509.load_pem_x509_certificate(path.read_bytes())


def uris(path):
    names = certificate(path).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def test_init_makes_an_identity_of_each_role_and_a_server(folder):
    assert {path.stem for path in folder.glob("*.pem")} == ROLES | {"ca", "server"}
    root = certificate(folder / "ca.pem")
    for role in ROLES:
        (uri,) = uris(folder / f"{role}.pem")
        assert identity(uri).role.value == role
        assert identity(uri).grid == "village"
        certificate(folder / f"{role}.pem").verify_directly_issued_by(root)
    assert uris(folder / "driver.pem") == ["spiffe://village/driver/home-1/boiler"]


def test_who_signs_has_a_key_for_it_and_its_public_half(folder):
    signers = {path.name.removesuffix(".sign.key") for path in folder.glob("*.sign.key")}
    assert signers == {"dso", "aggregator", "participant", "meter", "validator"}
    for name in signers:
        key = serialization.load_pem_private_key((folder / f"{name}.sign.key").read_bytes(), None)
        public = serialization.load_pem_public_key((folder / f"{name}.sign.pub").read_bytes())
        assert key.public_key() == public


def test_nobody_else_reads_a_key(folder):
    assert {path.stat().st_mode & 0o777 for path in folder.glob("*.key")} == {0o600}


def test_strict_verifiers_accept_the_server(folder):
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem", folder / "server.key")
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = context.wrap_bio(ours, theirs, server_hostname="localhost")
    other = server.wrap_bio(theirs, ours, server_side=True)
    for side in (one, other, one, other):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert one.version() == "TLSv1.3"


@pytest.mark.parametrize("name", ["ca.key", "auditor.pem", "meter.sign.pub"])
def test_nothing_is_overwritten(tmp_path, capsys, name):
    folder = tmp_path / "pki"
    folder.mkdir()
    (folder / name).write_text("mine")
    assert main(["pki", "init", str(folder)]) == 2
    assert capsys.readouterr().err == f"gridpact pki init: {folder / name}: is there already, and is not overwritten\n"
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ("spiffe://village/king/ada",),
            "URI: got 'spiffe://village/king/ada', wanted server or spiffe://GRID/ROLE/ID",
        ),
        (("ada",), "URI: got 'ada', wanted server or spiffe://GRID/ROLE/ID"),
        (("spiffe://village/dso/x", "--out", "../x"), "--out: got '../x', wanted a file name"),
        (("spiffe://village/dso/x", "--host", "a"), "--host: got it for a client, wanted it for server alone"),
        (("spiffe://village/dso/x", "--out", "dso"), "is there already, and is not overwritten"),
        (("server", "--host", "a b"), "--host: got 'a b', wanted a host name or an address"),
        (("spiffe://village/dso/x", "--days", "0"), "--days: got 0, wanted 1 to 3650"),
    ],
)
def test_bad_requests_are_refused_and_leave_nothing(folder, capsys, arguments, complaint):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    assert main(["pki", "issue", str(folder), *arguments]) == 2
    written = capsys.readouterr().err
    assert complaint in written
    assert written.count("\n") == 1
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_without_an_authority_issues_nothing(tmp_path, capsys):
    assert main(["pki", "issue", str(tmp_path), "spiffe://village/dso/x"]) == 2
    assert "ca.pem: cannot be read" in capsys.readouterr().err


def test_issue_makes_one_more_identity(folder):
    assert main(["pki", "issue", str(folder), "spiffe://village/driver/home-2/heat-pump", "--days", "3"]) == 0
    made = folder / "driver-home-2-heat-pump.pem"
    assert uris(made) == ["spiffe://village/driver/home-2/heat-pump"]
    assert certificate(made).not_valid_after_utc < datetime.now(UTC) + timedelta(days=4)


def test_a_renewed_identity_keeps_its_signing_key(folder):
    key, old = (folder / "dso.sign.key").read_bytes(), (folder / "dso.pem").read_bytes()
    assert main(["pki", "issue", str(folder), "spiffe://village/dso/dso", "--out", "dso", "--replace"]) == 0
    assert (folder / "dso.sign.key").read_bytes() == key
    assert (folder / "dso.pem").read_bytes() != old
    assert not list(folder.glob(".*"))


def test_a_server_is_called_what_it_is_told(folder):
    assert (
        main(["pki", "issue", str(folder), "server", "--host", "grid.example", "--host", "10.0.0.7", "--replace"]) == 0
    )
    names = certificate(folder / "server.pem").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "grid.example"]
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1", "10.0.0.7"]


def test_a_renewed_server_keeps_its_names_unless_others_are_stated(folder):
    def names():
        found = certificate(folder / "server.pem").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [str(name.value) for name in found]

    renew = ["pki", "issue", str(folder), "server", "--replace"]
    local = ["localhost", "127.0.0.1", "::1"]
    assert main([*renew, "--host", "grid.example", "--host", "10.0.0.7"]) == 0
    old = certificate(folder / "server.pem").serial_number
    assert main(renew) == 0
    assert certificate(folder / "server.pem").serial_number != old
    assert sorted(names()) == sorted([*local, "grid.example", "10.0.0.7"])
    assert main([*renew, "--host", "other.example"]) == 0
    assert names() == [*local, "other.example"]


class TestReading:
    @pytest.mark.parametrize("name", ["ca.pem", "server.pem", "server.key"])
    def test_what_is_missing_or_no_pem_is_named(self, folder, name):
        (folder / name).write_text("nothing")
        with pytest.raises(InputError, match=f"{name}: got no "):
            read_server(folder)
        (folder / name).unlink()
        with pytest.raises(InputError, match=f"{name}: cannot be read"):
            read_server(folder)

    def test_the_key_of_another_is_refused(self, folder):
        (folder / "server.key").write_bytes((folder / "dso.key").read_bytes())
        with pytest.raises(InputError, match=r"server\.key: got the key of another certificate"):
            read_server(folder)

    def test_an_expired_certificate_is_refused(self, folder):
        with pytest.raises(InputError, match="wanted one that is valid now"):
            read_server(folder, now=datetime.now(UTC) + timedelta(days=31))

    def test_a_key_that_others_can_read_is_warned_of(self, folder):
        assert read_server(folder).warnings == ()
        (folder / "server.key").chmod(0o640)
        (warning,) = read_server(folder).warnings
        assert "server.key: others can read this key" in warning


class TestReloading:
    def test_nothing_new_is_none(self, folder):
        assert ReloadedCredentials(folder)() is None

    def test_a_new_pair_is_taken_once(self, folder):
        credentials = ReloadedCredentials(folder)
        assert main(["pki", "issue", str(folder), "server", "--replace"]) == 0
        own, authority = credentials()
        assert own.certificate == (folder / "server.pem").read_bytes() != credentials.first.own.certificate
        assert authority == credentials.first.authority
        assert credentials() is None

    def test_a_half_written_pair_waits_for_its_other_half(self, folder, tmp_path):
        credentials = ReloadedCredentials(folder)
        main(["pki", "issue", str(folder), "server", "--out", "next"])
        (folder / "next.pem").replace(folder / "server.pem")
        assert credentials() is None
        (folder / "next.key").replace(folder / "server.key")
        assert credentials()[0].certificate == (folder / "server.pem").read_bytes()
