"""Answers kept for Idempotency-Key: one table per service that creates resources."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0006"
down_revision = "0005"

SCHEMAS = ("auth", "events", "faq")


def upgrade() -> None:
    for schema in SCHEMAS:
        op.create_table(
            "idempotency_keys",
            sa.Column("caller", sa.String(), nullable=False),
            sa.Column("key", sa.String(), nullable=False),
            sa.Column("request_hash", sa.LargeBinary(), nullable=False),
            sa.Column("status", sa.Integer(), nullable=False),
            sa.Column("headers", JSONB(), nullable=False),
            sa.Column("body", sa.LargeBinary(), nullable=False),
            sa.Column(
                "created_at", sa.DateTime(True), server_default=sa.text("now()"), nullable=False
            ),
            sa.PrimaryKeyConstraint("caller", "key", name="pk_idempotency_keys"),
            schema=schema,
        )
        op.create_index(
            "ix_idempotency_keys_created_at", "idempotency_keys", ["created_at"], schema=schema
        )


def downgrade() -> None:
    for schema in SCHEMAS:
        op.drop_table("idempotency_keys", schema=schema)
