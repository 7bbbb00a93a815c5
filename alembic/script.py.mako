<%
def statements(operations):
    lines = [line for line in operations.splitlines() if "# ###" not in line]
    return "\n".join(lines).strip() or "pass"
%>"""${message[:1].upper() + message[1:].rstrip(".")}."""

import sqlalchemy as sa
from alembic import op
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    ${statements(upgrades or "")}


def downgrade() -> None:
    ${statements(downgrades or "")}
