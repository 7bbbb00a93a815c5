"""Faqs and faq types."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "faq_types",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_faq_types"),
        sa.UniqueConstraint("id", "event_id", name="uq_faq_types_id_event_id"),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.events.id"],
            name="fk_faq_types_event_id_events",
            ondelete="CASCADE",
        ),
        schema="faq",
    )
    op.create_index(
        "uq_faq_types_name",
        "faq_types",
        ["event_id", sa.text("lower(btrim(name))")],
        unique=True,
        schema="faq",
    )
    op.create_table(
        "faqs",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("faq_type_id", sa.BigInteger(), nullable=True),
        sa.Column("question", sa.String(), nullable=False),
        sa.Column("answer", sa.String(), nullable=False),
        sa.Column("position", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column(
            "created_at", sa.DateTime(True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.DateTime(True), server_default=sa.text("now()"), nullable=False
        ),
        sa.Column("deleted_at", sa.DateTime(True), nullable=True),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_faqs"),
        sa.ForeignKeyConstraint(
            ["event_id"], ["events.events.id"], name="fk_faqs_event_id_events", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["faq_type_id", "event_id"],
            ["faq.faq_types.id", "faq.faq_types.event_id"],
            name="fk_faqs_faq_type_id_faq_types",
            ondelete="SET NULL (faq_type_id)",
        ),
        schema="faq",
    )
    op.create_index("ix_faqs_event_id", "faqs", ["event_id"], schema="faq")
    op.create_index("ix_faqs_faq_type_id", "faqs", ["faq_type_id"], schema="faq")
    for table in ("faqs", "faq_types"):
        op.execute(
            f"CREATE TRIGGER raise_version BEFORE UPDATE ON faq.{table} "
            "FOR EACH ROW EXECUTE FUNCTION public.raise_version()"
        )
    op.execute(
        "CREATE TRIGGER touch_updated_at BEFORE UPDATE ON faq.faqs "
        "FOR EACH ROW EXECUTE FUNCTION public.touch_updated_at()"
    )


def downgrade() -> None:
    op.drop_table("faqs", schema="faq")
    op.drop_table("faq_types", schema="faq")
