"""Enrolling a principal at the region's own machine: record, roles, certificate, folder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from sqlalchemy import Connection

from yinxin_proto.error import AlreadyExistsError
from yinxin_proto.suite import ES256
from yinxin_trust.access import Role
from yinxin_trust.command.clientfolder import Client, ClientFolder
from yinxin_trust.command.console import CONSOLE
from yinxin_trust.region import Region

CLIENT_KEY: Final = "client.key"


def require_new(region: Region, client: Client) -> None:
    """Refuse a principal that is known, before anything is made for it.

    Raises:
        AlreadyExistsError: The region knows the principal (``PRINCIPAL_EXISTS``),
            unless the authority it acts for is known too: that is said first.
    """
    with region.storage.read() as conn:
        snapshot = region.directory.snapshot(conn)
    is_known = client.principal_id in snapshot.principals
    if is_known and client.authority_code not in snapshot.authorities:
        raise AlreadyExistsError(
            "another principal has this identifier already", reason="PRINCIPAL_EXISTS"
        )


def enrol(region: Region, client: Client, *, roles: Iterable[Role], folder: ClientFolder) -> None:
    """Enrol a principal in a transaction of its own; see `enrol_within`."""
    with region.storage.write() as conn:
        enrol_within(conn, region, client, roles=roles, folder=folder)


def enrol_within(
    conn: Connection,
    region: Region,
    client: Client,
    *,
    roles: Iterable[Role],
    folder: ClientFolder,
) -> None:
    """Record a principal with its roles, certify its key, and finish the folder of its client.

    Args:
        conn: A write transaction.
        region: Opened.
        client: Who is enrolled.
        roles: What it may do.
        folder: Begun.

    Raises:
        AlreadyExistsError: The region knows the principal (``PRINCIPAL_EXISTS``).
        FailedPreconditionError: Roles that exclude each other.
    """
    registrar = region.registrar
    registrar.add_principal(
        conn,
        principal_id=client.principal_id,
        display_name=client.display_name,
        authority_code=client.authority_code,
    )
    for role in roles:
        registrar.assign(conn, client.principal_id, role, by=CONSOLE)
    key = ES256.generate()
    chain = registrar.certify_principal(client.principal_id, key.public_key)
    folder.put_key(CLIENT_KEY, key)
    folder.put_region(region, client, chain)
    # Before the commit: a principal that nobody can be is of no use.
    folder.finish()
