"""The gRPC contracts keep the conventions that the interceptors rely on."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor, MethodDescriptor

import yinxin_proto.v1
from yinxin_proto.v1.common_pb2 import CallContext

CONTRACTS = Path(yinxin_proto.v1.__file__).parent
MODULES = sorted(path.stem for path in CONTRACTS.glob("*.proto"))
FIELD = re.compile(r"^  (?:repeated |optional )?[\w.]+ \w+ = \d+")
CHINESE = re.compile(r"[\u4e00-\u9fff]")
ENGLISH = re.compile(r"[A-Za-z]{2}")


def descriptor(module: str) -> FileDescriptor:
    loaded = importlib.import_module(f"yinxin_proto.v1.{module}_pb2")
    file: FileDescriptor = loaded.DESCRIPTOR
    return file


def methods() -> Iterator[MethodDescriptor]:
    for module in MODULES:
        for service in descriptor(module).services_by_name.values():
            yield from service.methods


def messages() -> Iterator[Descriptor]:
    for module in MODULES:
        yield from descriptor(module).message_types_by_name.values()


@pytest.mark.parametrize("method", list(methods()), ids=lambda method: method.full_name)
def test_every_request_carries_the_call_context_first(method: MethodDescriptor) -> None:
    field = method.input_type.fields_by_number[1]

    assert field.name == "context"
    assert field.message_type is CallContext.DESCRIPTOR


def test_a_subject_number_travels_in_its_own_message_alone() -> None:
    carriers = {
        f"{message.name}.{field.name}"
        for message in messages()
        for field in message.fields
        if field.message_type is not None and field.message_type.name == "SubjectNumber"
    }

    assert carriers == {
        "LinkIdentifierRequest.number",
        "ListLicencesRequest.holder",
        "LookupSubjectRequest.number",
        "RegisterSubjectRequest.numbers",
    }


def test_every_list_is_paged() -> None:
    for method in methods():
        if method.name.startswith("List"):
            assert {"page_size", "page_token"} <= set(method.input_type.fields_by_name)
            assert "next_page_token" in method.output_type.fields_by_name


@pytest.mark.parametrize("module", MODULES)
def test_every_field_is_explained_in_chinese_and_english(module: str) -> None:
    comment: list[str] = []
    for line in (CONTRACTS / f"{module}.proto").read_text("utf-8").splitlines():
        if line.strip().startswith("//"):
            comment.append(line)
            continue
        if FIELD.match(line):
            said = " ".join(comment)
            assert CHINESE.search(said), line
            assert ENGLISH.search(said), line
        comment = []
