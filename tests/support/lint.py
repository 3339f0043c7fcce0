"""pkilint (RFC 5280) as an oracle: what it finds wrong in what we signed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pkilint import loader, pkix
from pkilint.bin import lint_pkix_signer_signee_cert_chain as pair
from pkilint.pkix import certificate, crl, extension, name, ocsp
from pkilint.validation import ValidationFindingSeverity


def lint_certificate(der: bytes) -> list[str]:
    """Return pkilint's findings of every severity above information."""
    validator = certificate.create_pkix_certificate_validator_container(
        certificate.create_decoding_validators(
            name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS
        ),
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )
    document = loader.RFC5280CertificateDocumentLoader().load_der_document(der)
    return _findings(validator.validate(document.root))


def lint_crl(der: bytes) -> list[str]:
    """Return pkilint's findings on a CRL, above information."""
    validator = crl.create_pkix_crl_validator_container(
        [
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [
            crl.create_issuer_validator_container([]),
            crl.create_validity_validator_container([]),
            crl.create_extensions_validator_container([]),
        ],
    )
    document = loader.RFC5280CertificateListDocumentLoader().load_der_document(der)
    return _findings(validator.validate(document.root))


def lint_pair(issuer: bytes, subject: bytes) -> list[str]:
    """Return what ``lint_pkix_signer_signee_cert_chain`` finds between two certificates."""
    load = loader.RFC5280CertificateDocumentLoader().load_der_document
    documents: dict[str, Any] = {}
    for role, der in (("issuer", issuer), ("subject", subject)):
        documents[role] = load(der, role, role, documents)
    decode = pair.create_decoder_validation_container()
    results = [
        *decode.validate(documents["issuer"].root),
        *decode.validate(documents["subject"].root),
        *pair.create_issuer_validation_container().validate(documents["issuer"].root),
        *pair.create_subject_validation_container().validate(documents["subject"].root),
    ]
    return _findings(results)


def lint_ocsp(der: bytes) -> list[str]:
    """Return what ``lint_ocsp_response`` finds."""
    validator = ocsp.create_pkix_ocsp_response_validator_container(
        [
            ocsp.create_response_decoder(),
            pkix.create_attribute_decoder(name.ATTRIBUTE_TYPE_MAPPINGS),
            pkix.create_extension_decoder(extension.EXTENSION_MAPPINGS),
        ],
        [],
    )
    document = loader.RFC6960OCSPResponseDocumentLoader().load_der_document(der)
    return _findings(validator.validate(document.root))


def _findings(results: Iterable[Any]) -> list[str]:
    return [
        f"{found.finding.severity}: {found.finding.code} ({found.message})"
        for result in results
        for found in result.finding_descriptions
        if found.finding.severity <= ValidationFindingSeverity.NOTICE
    ]
