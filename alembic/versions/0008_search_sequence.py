"""Lets search see how far versions are, and set them ahead of an index that outlived a restore."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.execute("GRANT SELECT, UPDATE ON SEQUENCE search.version_seq TO almanac_search")


def downgrade() -> None:
    op.execute("REVOKE SELECT, UPDATE ON SEQUENCE search.version_seq FROM almanac_search")
