from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from controller.pki import Authority

URI = "spiffe://village/driver/bob/boiler"


def read(credentials):
    return x509.load_pem_x509_certificate(credentials.certificate)


def names(certificate):
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def usage(certificate):
    return list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_a_clients_only_name_is_its_identity():
    certificate = read(Authority().client(URI))
    assert list(names(certificate)) == [x509.UniformResourceIdentifier(URI)]
    assert usage(certificate) == [ExtendedKeyUsageOID.CLIENT_AUTH]


def test_a_server_is_this_machine_and_no_client():
    certificate = read(Authority().server())
    assert names(certificate).get_values_for_type(x509.DNSName) == ["localhost"]
    assert [str(a) for a in names(certificate).get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    assert usage(certificate) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_every_certificate_is_signed_by_its_authority_alone():
    authority, other = Authority(), Authority()
    root = x509.load_pem_x509_certificate(authority.certificate)
    for credentials in (authority.server(), authority.client(URI)):
        read(credentials).verify_directly_issued_by(root)
        assert read(credentials).public_key() == serialization.load_pem_private_key(credentials.key, None).public_key()
    assert other.certificate != authority.certificate


def test_only_the_authority_may_issue():
    authority = Authority()
    for pem, ca in ((authority.certificate, True), (authority.client(URI).certificate, False)):
        constraints = x509.load_pem_x509_certificate(pem).extensions.get_extension_for_class(x509.BasicConstraints)
        assert constraints.value.ca is ca
        assert constraints.critical


def test_certificates_are_valid_now_and_not_for_long():
    certificate = read(Authority().client(URI))
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc < now + timedelta(days=8)


def test_no_two_have_a_key_or_number_in_common():
    authority = Authority()
    one, other = authority.client(URI), authority.client(URI)
    assert one.key != other.key
    assert read(one).serial_number != read(other).serial_number
