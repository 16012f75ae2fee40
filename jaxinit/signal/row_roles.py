"""What the parameters of each row do, in a word."""

from collections.abc import Sequence

from jaxinit.report.measured import Row
from jaxinit.roles.network import ROLES, Network

# What a kernel, a bias or a norm is besides tells more.
_PLAIN = ("weight", "bias", "norm_bias", "gate_bias", "readout_bias")


def with_roles(rows: Sequence[Row], network: Network) -> tuple[Row, ...]:
    """The rows with the roles of their parameters."""
    known = {param.name: param.roles for param in network.params}
    return tuple(row._replace(role=_role(row, known)) for row in rows)


def _role(row: Row, known: dict[str, frozenset[str]]) -> str:
    found = {
        role
        for name in row.params
        for role in known.get(name, known.get(name.split("[")[0], frozenset()))
    }
    telling = [role for role in ROLES if role in found - {*_PLAIN}]
    plain = [role for role in _PLAIN if role in found]
    return "+".join(telling or plain[:1])
