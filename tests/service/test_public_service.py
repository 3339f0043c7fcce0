"""What a region serves over HTTP, asked over HTTP: by us, by OpenSSL, by whoever means ill."""

from __future__ import annotations

import base64
import http.client
import io
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from asn1crypto import tsp
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID
from sqlalchemy import select

from support.clock import FixedClock, SeededEntropy
from support.officers import Officers
from support.openssl import needs_openssl, openssl
from yinxin_ca.authority import CertificateAuthority, to_pem
from yinxin_ca.keystore import Purpose
from yinxin_ca.location import shard_of
from yinxin_ca.ocsp import Delegation
from yinxin_ca.profile import DEPARTMENT, LICENCE, SEAL, STATUS, TLS_CLIENT, Profile
from yinxin_ca.register import CertificateRecord, InMemoryRegister
from yinxin_ca.subject import AlternativeNames, Subject
from yinxin_ca.timestampbook import FileTimestampBook, InMemoryTimestampBook
from yinxin_edge.clock import SystemClock
from yinxin_edge.http import HttpServer, HttpSettings
from yinxin_edge.journal import Journal
from yinxin_proto.certificate import Certificate, parse
from yinxin_proto.crl import RevocationReason, parse_crl
from yinxin_proto.error import FailedPreconditionError, KeyStoreError
from yinxin_proto.jose import x5c_chain
from yinxin_proto.ocsp import CertId, OcspAnswer, OcspStatus, parse_ocsp
from yinxin_proto.signature import PublicKey
from yinxin_proto.strict import parse_json
from yinxin_proto.suite import ES256
from yinxin_proto.timestamp import Imprint
from yinxin_proto.timestamp_token import token_of, verify_token
from yinxin_proto.trustlist import TrustList
from yinxin_trust import schema
from yinxin_trust.answering import Answering, authority_of
from yinxin_trust.catalogue import builtin_types
from yinxin_trust.certification import ISSUING, ROOT, issuing_cas
from yinxin_trust.command.issuedcertificate import _revoke as revoke_command
from yinxin_trust.directory import touch
from yinxin_trust.keystage import Stage
from yinxin_trust.peerrevocation import PeerRevocation
from yinxin_trust.publication import current_view
from yinxin_trust.publicservice import PublicService
from yinxin_trust.refresh import refresh
from yinxin_trust.region import Region
from yinxin_trust.registration import NewAuthority
from yinxin_trust.revocation import (
    find_certificate,
    publish_revocations,
    registers_of,
    revoke_certificate,
    revoke_certificates_of_key,
)
from yinxin_trust.roottheft import RootTheft
from yinxin_trust.settings import HttpTable
from yinxin_trust.trustlisting import get_anchors
from yinxin_verifier.assembly import read_revocations

URL = "http://pki.putian.example"
SUBJECT = Subject(organisation="虚构市市场监督管理局", common_name="invented")


def _authority(region: Region, name: str) -> CertificateAuthority:
    with region.storage.read() as conn:
        (ca,) = issuing_cas(conn, name)
    return authority_of(region, ca)


class Served:
    """A region of today and its HTTP server."""

    def __init__(self, *, shards: int = 3, ago: timedelta = timedelta(0)) -> None:
        self.clock = FixedClock(SystemClock().now().replace(microsecond=0) - ago)
        self.region = Region.in_memory(
            self.clock, SeededEntropy(), http=HttpTable(public_url=URL, crl_shards=shards)
        )
        self.journal = io.StringIO()
        self.book = InMemoryTimestampBook(entropy=SeededEntropy())
        self.answering = Answering(region=self.region, book=self.book)
        assert self.answering.prepare() == ()
        journal = Journal(clock=self.clock, stream=self.journal)
        self.server = HttpServer(
            settings=HttpSettings(listen="127.0.0.1:0"),
            handler=PublicService(region=self.region, answering=self.answering, journal=journal),
            journal=journal,
            clock=self.clock,
        )
        self.port = self.server.start()

    def close(self) -> None:
        self.server.stop()
        self.region.close()

    def anchor(self, name: str) -> Certificate:
        with self.region.storage.read() as conn:
            return parse(getattr(get_anchors(conn), name))

    def seal(self) -> Certificate:
        key = ES256.generate().public_key
        return parse(_authority(self.region, "seal").issue(SEAL, subject=SUBJECT, public_key=key))

    def ask(
        self, method: str, path: str, body: bytes = b"", **headers: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body or None, named)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        return response, content


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    running = Served()
    yield running
    running.close()


def _request(leaf: Certificate, issuer: Certificate, nonce: bytes | None = None) -> bytes:
    builder = ocsp.OCSPRequestBuilder().add_certificate(
        x509.load_der_x509_certificate(leaf.der),
        x509.load_der_x509_certificate(issuer.der),
        hashes.SHA1(),  # noqa: S303 - RFC 5019 asks for it; it names, and secures nothing
    )
    if nonce is not None:
        builder = builder.add_extension(x509.OCSPNonce(nonce), critical=False)
    return builder.build().public_bytes(Encoding.DER)


def _read(served: Served, answer: bytes, leaf: Certificate) -> OcspAnswer:
    return parse_ocsp(answer).verify(
        leaf, served.anchor("seal"), suite=ES256, at=served.clock.now()
    )


def _post(served: Served, request: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    return served.ask("POST", "/ocsp", request, Content_Type="application/ocsp-request")


# --- lists and certificates ------------------------------------------------------


@pytest.mark.parametrize("name", [ROOT, *ISSUING])
def test_every_authoritys_certificate_and_list_are_where_certificates_say(
    served: Served, name: str
) -> None:
    response, der = served.ask("GET", f"/ca/{name}.crt")
    assert (response.status, response.getheader("Content-Type")) == (200, "application/pkix-cert")
    assert der == served.anchor(name).der
    response, crl = served.ask("GET", f"/crl/{name}.crl")
    assert (response.status, response.getheader("Content-Type")) == (200, "application/pkix-crl")
    parse_crl(crl).verify(served.anchor(name), suite=ES256)


def test_a_certificate_names_its_list_its_issuer_and_its_responder(served: Served) -> None:
    leaf = served.seal()
    assert leaf.crl_urls == (f"{URL}/crl/seal-s{leaf.serial_number % 3}.crl",)
    access = (
        x509.load_der_x509_certificate(leaf.der)
        .extensions.get_extension_for_class(x509.AuthorityInformationAccess)
        .value
    )
    assert {entry.access_location.value for entry in access} == {
        f"{URL}/ocsp",
        f"{URL}/ca/seal.crt",
    }
    path = urllib.parse.urlsplit(leaf.crl_urls[0]).path
    _, crl = served.ask("GET", path)
    assert parse_crl(crl).verify(served.anchor("seal"), suite=ES256).covers(leaf)


def test_what_may_be_kept_says_how_long_and_is_not_sent_twice(served: Served) -> None:
    response, crl = served.ask("GET", "/crl/seal.crl")
    assert crl
    assert "max-age=3600" in str(response.getheader("Cache-Control"))
    tag = str(response.getheader("ETag"))
    again, nothing = served.ask("GET", "/crl/seal.crl", If_None_Match=tag)
    assert (again.status, nothing) == (304, b"")
    head, nothing = served.ask("HEAD", "/crl/seal.crl")
    assert (head.getheader("Content-Length"), nothing) == (str(len(crl)), b"")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/crl/none.crl",
        "/crl/seal-s9.crl",
        "/crl/seal-s01.crl",
        "/crl/../ca/root.crt",
        "/crl/%73eal.crl",
        "/ca/none.crt",
        "/ca/storage.crt",
        "/crl/seal.crl/",
    ],
)
def test_nothing_else_is_there(served: Served, path: str) -> None:
    response, body = served.ask("GET", path)
    assert (response.status, body) == (404, b"")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/crl/seal.crl", 405),
        ("DELETE", "/ca/root.crt", 405),
        ("GET", "/ocsp", 405),
        ("PUT", "/ocsp", 405),
        ("GET", "/tsa", 405),
        ("POST", "/ocsp", 415),
        ("POST", "/tsa", 415),
    ],
)
def test_other_methods_and_contents_are_refused(
    served: Served, method: str, path: str, status: int
) -> None:
    response, _ = served.ask(method, path, b"x" if method == "POST" else b"")
    assert response.status == status


# --- OCSP ------------------------------------------------------------------------


def test_a_revocation_is_seen_by_post_and_get_at_once_and_on_its_list_alone(
    served: Served,
) -> None:
    leaf, issuer = served.seal(), served.anchor("seal")
    request = _request(leaf, issuer)
    path = "/ocsp/" + urllib.parse.quote(base64.b64encode(request), safe="")
    got, answer = served.ask("GET", path)
    assert _read(served, answer, leaf).status is OcspStatus.GOOD
    assert got.getheader("Content-Type") == "application/ocsp-response"
    assert "max-age=3600" in str(got.getheader("Cache-Control"))
    assert got.getheader("Last-Modified") is not None

    revoke_certificate(served.region, leaf.serial_number, RevocationReason.CESSATION_OF_OPERATION)
    posted, answer = _post(served, request)
    assert posted.getheader("Cache-Control") == "no-store"
    said = _read(served, answer, leaf)
    assert (said.status, said.reason) == (
        OcspStatus.REVOKED,
        RevocationReason.CESSATION_OF_OPERATION,
    )
    _, answer = served.ask("GET", path)
    assert _read(served, answer, leaf).status is OcspStatus.REVOKED

    publish_revocations(served.region, ["seal"])
    own = shard_of(leaf.crl_urls[0])
    for shard in ("", "-s0", "-s1", "-s2"):
        _, crl = served.ask("GET", f"/crl/seal{shard}.crl")
        entries = parse_crl(crl).verify(issuer, suite=ES256).entries
        assert (leaf.serial_number in entries) is (shard == own)


def test_what_is_no_ocsp_request_is_told_so(served: Served) -> None:
    for response, answer in (
        _post(served, b"nothing"),
        served.ask("GET", "/ocsp/!!!"),
        served.ask("GET", "/ocsp/" + "A" * 3900),
    ):
        assert response.status == 200
        assert ocsp.load_der_ocsp_response(answer).response_status.name == "MALFORMED_REQUEST"
        assert response.getheader("Cache-Control") == "no-store"


@needs_openssl
def test_openssl_asks_the_responder_over_http(served: Served, tmp_path: Path) -> None:
    leaf, issuer = served.seal(), served.anchor("seal")
    files = {"leaf": leaf.der, "issuer": issuer.der, "root": served.anchor("root").der}
    for name, der in files.items():
        (tmp_path / f"{name}.pem").write_bytes(to_pem([der]))

    def said() -> str:
        done = openssl(
            *("ocsp", "-issuer", "issuer.pem", "-cert", "leaf.pem", "-CAfile", "root.pem"),
            *("-url", f"http://127.0.0.1:{served.port}/ocsp"),
            cwd=tmp_path,
        )
        assert "Response verify OK" in done.stderr
        return done.stdout

    assert "leaf.pem: good" in said()
    revoke_certificate(served.region, leaf.serial_number, RevocationReason.KEY_COMPROMISE)
    assert "Reason: keyCompromise" in said()


def test_a_register_that_cannot_be_read_makes_nothing_good() -> None:
    class Gone(InMemoryRegister):
        def find(self, serial: int) -> CertificateRecord | None:
            raise KeyStoreError("the register cannot be read", reason="STORE_IO")

    served = Served(shards=1)
    leaf, issuer = served.seal(), served.anchor("seal")
    own = served.answering.responder._delegation

    def without_register(named: CertId) -> Delegation | None:
        found = own(named)
        return None if found is None else replace(found, register=Gone())

    served.answering.responder._delegation = without_register
    _, answer = _post(served, _request(leaf, issuer))
    served.close()
    assert ocsp.load_der_ocsp_response(answer).response_status.name == "TRY_LATER"
    assert "ocsp_failed" in served.journal.getvalue()


# --- verdicts ------------------------------------------------------------------------


def test_a_verifier_reads_the_shards_that_a_region_publishes(served: Served) -> None:
    region = served.region
    region.registrar.add_authority(
        NewAuthority(
            code="11350399MB0000017D",
            name="虚构局",
            types=(next(entry.code for entry in builtin_types() if entry.is_issuable),),
            approval_key=ES256.generate().public_key,
        )
    )
    with region.storage.read() as conn:
        view = current_view(conn, region.clock.now())
        paths = view.paths("crl")
        trust_list = TrustList.parse(view.target("trust.json"))
        lists = read_revocations(trust_list, map(view.target, paths))
        k = schema.authority_key.c
        x5c = conn.execute(select(k.x5c).where(k.purpose == "licence")).scalar_one()
    assert {path for path in paths if path.startswith("crl/licence")} == {
        "crl/licence.crl",
        *(f"crl/licence-s{shard}.crl" for shard in range(3)),
    }
    # Of authorities that no verdict needs, a verifier would refuse a list.
    assert not any("seal" in path or "member" in path for path in paths)
    leaf = parse(x5c_chain({"x5c": parse_json(x5c.encode())})[0])
    (speaking,) = [listed for listed in lists if listed.covers(leaf)]
    assert shard_of(leaf.crl_urls[0]) == shard_of(speaking.addresses[0]) != ""


# --- time-stamps -------------------------------------------------------------------


@needs_openssl
def test_openssl_stamps_over_http_and_we_verify_it_too(served: Served, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"data")
    (tmp_path / "root.pem").write_bytes(to_pem([served.anchor("root").der]))
    openssl(
        *("ts", "-query", "-data", "data", "-cert", "-sha256", "-out", "q.tsq"),
        cwd=tmp_path,
        check=True,
    )
    response, reply = served.ask(
        "POST",
        "/tsa",
        (tmp_path / "q.tsq").read_bytes(),
        Content_Type="application/timestamp-query",
    )
    assert response.getheader("Content-Type") == "application/timestamp-reply"
    (tmp_path / "r.tsr").write_bytes(reply)
    openssl(
        *("ts", "-verify", "-queryfile", "q.tsq", "-in", "r.tsr", "-CAfile", "root.pem"),
        cwd=tmp_path,
        check=True,
    )
    said = verify_token(
        token_of(reply), Imprint.of(b"data"), anchor=served.anchor("root"), suite=ES256
    )
    assert said.at == served.clock.now().replace(microsecond=0)


def test_a_book_that_cannot_be_written_is_said_and_nothing_stamped(tmp_path: Path) -> None:
    served = Served(shards=1)
    book = FileTimestampBook(tmp_path / "book", entropy=SeededEntropy())
    served.answering._book = book
    served.clock.advance(minutes=2)
    served.answering.stamper()
    (tmp_path / "book").write_bytes(bytes(128))
    request = bytes.fromhex("3036020101302f300b0609608648016503040201042000" + "00" * 31 + "0101ff")
    request = request[:1] + bytes([len(request) - 2]) + request[2:]
    response, body = served.ask("POST", "/tsa", request, Content_Type="application/timestamp-query")
    served.close()
    assert (response.status, body) == (503, b"")
    assert "timestamp_failed" in served.journal.getvalue()
    book.close()


# --- who answers -------------------------------------------------------------------


def test_a_responders_certificate_is_renewed_before_it_ends() -> None:
    served = Served(shards=1)
    leaf, issuer = served.seal(), served.anchor("seal")
    seen = set()
    for _ in range(4):
        _, answer = _post(served, _request(leaf, issuer))
        assert _read(served, answer, leaf).status is OcspStatus.GOOD
        seen.add(parse_ocsp(answer).certificates[0].serial_number)
        served.clock.advance(days=14)
    served.close()
    assert len(seen) == 2


def _rotate(served: Served, purpose: Purpose) -> None:
    rotation = served.region.rotation()
    progress = rotation.rotate(served.region.namespace.code, purpose)
    for _ in range(20):
        if progress.waiting is None:
            return
        served.clock.advance(days=1)
        rotation.run_due()
        progress = rotation.resume(served.region.namespace.code, purpose)
    raise AssertionError(progress)


def _stamped_by(served: Served) -> bytes:
    imprint = {
        "hash_algorithm": {"algorithm": "sha256"},
        "hashed_message": Imprint.of(b"data").digest,
    }
    query = {"version": "v1", "message_imprint": imprint, "cert_req": True}
    body: bytes = tsp.TimeStampReq(query).dump()
    _, reply = served.ask("POST", "/tsa", body, Content_Type="application/timestamp-query")
    token = token_of(reply)
    verify_token(token, Imprint.of(b"data"), anchor=served.anchor("root"), suite=ES256)
    return token


def test_whoever_answers_goes_on_under_new_keys_and_authorities() -> None:
    served = Served(shards=2)
    leaf, issuer = served.seal(), served.anchor("seal")
    _, first = _post(served, _request(leaf, issuer))
    before = _stamped_by(served)
    for purpose in (
        Purpose.OCSP,
        Purpose.TIMESTAMP,
        Purpose.TIMESTAMP_CA,
        Purpose.SEAL_CA,
    ):
        _rotate(served, purpose)
    # The authority before still answers for what it certified, under the new responder's key.
    _, again = _post(served, _request(leaf, issuer))
    answers = [parse_ocsp(answer) for answer in (first, again)]
    said = answers[1].verify(leaf, issuer, suite=ES256, at=served.clock.now())
    assert said.status is OcspStatus.GOOD
    assert answers[0].certificates[0].spki != answers[1].certificates[0].spki
    with served.region.storage.read() as conn:
        old, new = issuing_cas(conn, "seal")
    assert (old.certificate, old.label, new.label) == (issuer.der, "seal", "seal-2")
    _, served_certificate = served.ask("GET", "/ca/seal-2.crt")
    assert served_certificate == new.certificate
    own = parse(
        authority_of(served.region, new).issue(
            SEAL, subject=SUBJECT, public_key=ES256.generate().public_key
        )
    )
    assert own.crl_urls[0].startswith(f"{URL}/crl/seal-2-s")
    revoke_certificate(served.region, own.serial_number, RevocationReason.SUPERSEDED)
    publish_revocations(served.region, ["seal-2"])
    _, crl = served.ask("GET", urllib.parse.urlsplit(own.crl_urls[0]).path)
    listed = parse_crl(crl).verify(parse(new.certificate), suite=ES256)
    assert own.serial_number in listed.entries
    # Tokens of both keys verify, each by its own chain.
    after = _stamped_by(served)
    assert before != after
    verify_token(before, Imprint.of(b"data"), anchor=served.anchor("root"), suite=ES256)
    served.close()


# --- stolen keys ---------------------------------------------------------------------


def test_a_stolen_key_is_revoked_under_every_authority_and_certified_by_none(
    served: Served,
) -> None:
    region, key = served.region, ES256.generate().public_key
    seal = _authority(region, "seal").issue(SEAL, subject=SUBJECT, public_key=key)
    names = AlternativeNames(uri=region.namespace.principal_uri("twice"))
    tls = _authority(region, "tls").issue(TLS_CLIENT, subject=SUBJECT, public_key=key, names=names)
    revoke_certificate(region, parse(seal).serial_number, RevocationReason.SUPERSEDED)
    compromise = RevocationReason.KEY_COMPROMISE
    arguments = (registers_of(region), key.spki, compromise, region.clock.now())
    assert {found.authority for found in revoke_certificates_of_key(*arguments)} == {"seal", "tls"}
    assert revoke_certificates_of_key(*arguments) == ()
    for der in (seal, tls):
        _, record = find_certificate(region, parse(der).serial_number)
        assert record.reason is compromise
    for name, profile in (("seal", SEAL), ("member", DEPARTMENT), ("status", STATUS)):
        with pytest.raises(FailedPreconditionError) as refused:
            _authority(region, name).issue(profile, subject=SUBJECT, public_key=key)
        assert refused.value.reason == "KEY_COMPROMISED"


def test_a_caller_is_refused_by_the_list_that_its_certificate_names(served: Served) -> None:
    region = served.region
    names = AlternativeNames(uri=region.namespace.principal_uri("caller"))
    callers = [
        parse(
            _authority(region, "tls").issue(
                TLS_CLIENT,
                subject=SUBJECT,
                public_key=ES256.generate().public_key,
                names=names,
            )
        )
        for _ in range(6)
    ]
    is_revoked = PeerRevocation(storage=region.storage, suite=ES256, clock=region.clock)
    assert not any(map(is_revoked, callers))
    for caller in callers[:3]:
        revoke_certificate(region, caller.serial_number, RevocationReason.SUPERSEDED)
    publish_revocations(region, ["tls"])
    later = PeerRevocation(storage=region.storage, suite=ES256, clock=region.clock)
    assert [later(caller) for caller in callers] == [True] * 3 + [False] * 3


def test_revoking_what_the_root_signed_needs_the_offline_key(served: Served) -> None:
    issuing = served.anchor("member").serial_number
    assert (
        revoke_certificate(
            served.region, issuing, RevocationReason.CESSATION_OF_OPERATION
        ).authority
        == ROOT
    )
    publish_revocations(served.region, [ROOT])
    _, crl = served.ask("GET", "/crl/root.crl")
    listed = parse_crl(crl).verify(served.anchor(ROOT), suite=ES256)
    assert issuing in listed.entries


# --- after an authority's key was rotated ---------------------------------------------


def test_a_past_authority_is_destroyed_once_what_it_certified_has_ended() -> None:
    served = Served(shards=2)
    rotation = served.region.rotation()
    _rotate(served, Purpose.SEAL_CA)
    leaf = parse(_past(served, "seal").issue(SEAL, subject=SUBJECT, public_key=_key()))
    # Its responder is certified anew all the while, and keeps it for nobody.
    stages = []
    for until in (leaf.not_after, leaf.not_after + timedelta(days=40)):
        while served.clock.now() < until - timedelta(days=20):
            served.clock.advance(days=20)
            assert served.answering.prepare() == ()
            rotation.run_due()
        with served.region.storage.read() as conn:
            stages.append(issuing_cas(conn, "seal")[0].key.stage)
    served.close()
    assert stages == [Stage.RETIRED, Stage.DESTROYED]


@needs_openssl
@pytest.mark.parametrize("name", ["licence", "tls", "seal", "member"])
def test_openssl_follows_every_address_of_a_rotated_authority(name: str, tmp_path: Path) -> None:
    purpose, _, _ = ISSUING[name]
    leaf_profile = {"licence": LICENCE, "tls": TLS_CLIENT, "seal": SEAL, "member": DEPARTMENT}[name]
    served = Served(shards=3, ago=timedelta(days=30))
    before = [_certified(served, name, leaf_profile) for _ in range(4)]
    _rotate(served, purpose)
    # OpenSSL goes by the machine's clock.
    served.clock.advance(seconds=(SystemClock().now() - served.clock.now()).total_seconds())
    refresh(served.region)
    after = [_certified(served, name, leaf_profile) for _ in range(6)]
    revoked = {before[0].serial_number, after[0].serial_number}
    for serial in revoked:
        revoke_certificate(served.region, serial, RevocationReason.CESSATION_OF_OPERATION)
    publish_revocations(served.region, [name, f"{name}-2"])

    (tmp_path / "root.pem").write_bytes(to_pem([served.anchor("root").der]))
    assert {shard_of(leaf.crl_urls[0]) for leaf in before + after} <= {"-s0", "-s1", "-s2"}
    for label, leaves in ((name, before), (f"{name}-2", after)):
        for leaf in leaves:
            folder = tmp_path / f"{leaf.serial_number:x}"
            folder.mkdir()
            issuer = parse(_fetch(served, folder / "issuer.pem", leaf, "caIssuers"))
            assert issuer.subject == leaf.issuer
            assert leaf.crl_urls[0].startswith(f"{URL}/crl/{label}-s")
            _fetch(served, folder / "list.pem", leaf, "crl")
            _fetch(served, folder / "above.pem", issuer, "crl")
            (folder / "leaf.pem").write_bytes(to_pem([leaf.der]))
            is_revoked = leaf.serial_number in revoked
            for said in (_by_lists(folder), _by_responder(folder, served.port)):
                assert ("revoked" in said) is is_revoked, said
    served.close()


def test_authorities_under_the_next_root_point_at_what_is_served() -> None:
    served = Served()
    theft = RootTheft(region=served.region)
    operation, _ = theft.prepare()
    theft.replace([Officers.appoint(served.region).sign(operation)])
    _rotate(served, Purpose.SEAL_CA)
    with served.region.storage.read() as conn:
        cas = [parse(ca.certificate) for ca in issuing_cas(conn, "seal")]
    for ca in cas:
        for url in (*ca.crl_urls, *_access(ca).values()):
            response, _ = served.ask("GET", url.removeprefix(URL))
            assert response.status == 200, url
    served.close()


def test_what_was_revoked_while_the_roots_key_was_shut_is_published_once_it_is_open(
    served: Served,
) -> None:
    region = served.region
    issuing = served.anchor("timestamp").serial_number
    revoke_certificate(region, issuing, RevocationReason.CESSATION_OF_OPERATION)
    with region.storage.write() as conn:
        touch(conn)
        region.registrar.publish_trust(conn)
    _, crl = served.ask("GET", "/crl/root.crl")
    listed = parse_crl(crl).verify(served.anchor(ROOT), suite=ES256)
    assert issuing in listed.entries


def test_a_revocation_that_was_interrupted_is_finished_by_the_same_command(
    served: Served,
) -> None:
    region, key = served.region, _key()
    first = parse(_authority(region, "seal").issue(SEAL, subject=SUBJECT, public_key=key))
    second = parse(_authority(region, "member").issue(DEPARTMENT, subject=SUBJECT, public_key=key))
    compromise = RevocationReason.KEY_COMPROMISE
    # The power went after the first line in a register.
    revoke_certificate(region, first.serial_number, compromise)

    assert revoke_command(region, first.serial_number, key.spki, compromise) == 1
    with pytest.raises(FailedPreconditionError) as told:
        revoke_command(region, first.serial_number, key.spki, compromise)

    assert told.value.reason == "ALREADY_REVOKED"
    for leaf, name in ((first, "seal"), (second, "member")):
        _, crl = served.ask("GET", leaf.crl_urls[0].removeprefix(URL))
        listed = parse_crl(crl).verify(served.anchor(name), suite=ES256)
        assert listed.entries[leaf.serial_number].reason is compromise


def _key() -> PublicKey:
    return ES256.generate().public_key


def _past(served: Served, name: str) -> CertificateAuthority:
    with served.region.storage.read() as conn:
        return authority_of(served.region, issuing_cas(conn, name)[0])


def _certified(served: Served, name: str, profile: Profile) -> Certificate:
    with served.region.storage.read() as conn:
        active = next(ca for ca in issuing_cas(conn, name) if ca.key.stage is Stage.ACTIVE)
    uri = served.region.namespace.principal_uri("caller") if profile is TLS_CLIENT else None
    authority = authority_of(served.region, active)
    names = AlternativeNames(uri=uri)
    return parse(authority.issue(profile, subject=SUBJECT, public_key=_key(), names=names))


def _fetch(served: Served, path: Path, of: Certificate, what: str) -> bytes:
    """Fetch what a certificate points at, from where it says, and keep it as PEM."""
    url = of.crl_urls[0] if what == "crl" else _access(of)[AuthorityInformationAccessOID.CA_ISSUERS]
    assert url.startswith(URL)
    assert _access(of).get(AuthorityInformationAccessOID.OCSP, f"{URL}/ocsp") == f"{URL}/ocsp"
    response, der = served.ask("GET", url.removeprefix(URL))
    assert response.status == 200, url
    command = ("crl", "-inform", "DER") if what == "crl" else ("x509", "-inform", "DER")
    (path.parent / "fetched.der").write_bytes(der)
    openssl(*command, "-in", "fetched.der", "-out", path.name, cwd=path.parent, check=True)
    return der


def _access(of: Certificate) -> dict[x509.ObjectIdentifier, str]:
    parsed = x509.load_der_x509_certificate(of.der)
    found = parsed.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
    return {entry.access_method: str(entry.access_location.value) for entry in found}


def _by_lists(folder: Path) -> str:
    done = openssl(
        *("verify", "-CAfile", "../root.pem", "-untrusted", "issuer.pem", "-extended_crl"),
        *("-crl_check_all", "-CRLfile", "list.pem", "-CRLfile", "above.pem", "leaf.pem"),
        cwd=folder,
    )
    assert done.returncode == 0 or "certificate revoked" in done.stderr, done.stderr
    return done.stderr


def _by_responder(folder: Path, port: int) -> str:
    done = openssl(
        *("ocsp", "-issuer", "issuer.pem", "-cert", "leaf.pem", "-CAfile", "../root.pem"),
        *("-url", f"http://127.0.0.1:{port}/ocsp"),
        cwd=folder,
    )
    assert "Response verify OK" in done.stderr, done.stderr
    return done.stdout
