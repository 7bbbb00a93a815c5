"""When an index was last compared with the database, and the result."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("generations", sa.Column("audited_at", sa.DateTime(True)), schema="search")
    op.add_column("generations", sa.Column("audit", sa.String()), schema="search")


def downgrade() -> None:
    op.drop_column("generations", "audit", schema="search")
    op.drop_column("generations", "audited_at", schema="search")
