"""``yinxin certificate``: those that the region's authorities signed, and those from outside."""

from __future__ import annotations

from typing import Final

import typer

from yinxin_trust.command import externalca, issuedcertificate

app: Final = typer.Typer(no_args_is_help=True, add_completion=False)


@app.callback()
def certificate() -> None:
    """Look at certificates and revoke them; bring in those of a licensed authority."""


for part in (issuedcertificate.app, externalca.app):
    app.registered_commands.extend(part.registered_commands)
