"""Invitations to the roles of events, who created an event, and what auth does to events.

Each event is written once, to set its creator; nobody reads or writes events meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

# For events that are older than the column, their owner is the best guess.
SET_CREATORS = """
UPDATE events.events e SET created_by = r.user_id
FROM events.roles r WHERE r.event_id = e.id AND r.role = 'owner'
"""

# Who was offered an event by a former owner, or by an administrator, must not take it from the
# next one.
WITHDRAW_OFFERS = """
CREATE FUNCTION events.withdraw_offers() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
BEGIN
    UPDATE events.invitations SET state = 'withdrawn'
    WHERE event_id = NEW.event_id AND role = 'owner' AND state = 'pending';
    RETURN NULL;
END $$
"""

# Gives a role to an account that accepted an invitation, and returns whether event and account
# are still there. The lock of the account is that of release_account, so that an account that is
# being deleted gets no role. The UPDATE locks the event, and a trigger raises its version.
GIVE_ROLE = """
CREATE FUNCTION events.give_role(to_event bigint, to_user bigint, given text) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    former bigint;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(hashtextextended('roles of account ' || to_user, 0));
    PERFORM FROM auth.addresses WHERE user_id = to_user;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE events.events SET version = version WHERE id = to_event AND deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    IF given = 'owner' THEN
        DELETE FROM events.roles
        WHERE event_id = to_event AND role = 'owner' AND user_id <> to_user
        RETURNING user_id INTO former;
        INSERT INTO events.roles (event_id, user_id, role)
        SELECT to_event, former, 'organizer' WHERE former IS NOT NULL
        ON CONFLICT DO NOTHING;
        PERFORM auth.queue_mail(
            a.email, 'role-changed', jsonb_build_object('event', e.name, 'role', 'organizer'))
        FROM auth.addresses a, events.events e WHERE a.user_id = former AND e.id = to_event;
    END IF;
    INSERT INTO events.roles (event_id, user_id, role) VALUES (to_event, to_user, given)
    ON CONFLICT DO NOTHING;
    RETURN true;
END $$
"""

# For an account that has just proved its address. An invitation is locked as services/events
# locks it: first what belongs to the event, then the row, then the event.
ACCEPT_INVITATIONS = """
CREATE FUNCTION events.accept_invitations(user_id bigint, email_key text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    invitation record;
BEGIN
    FOR invitation IN
        SELECT i.id, i.event_id FROM events.invitations i JOIN events.events e ON e.id = i.event_id
        WHERE i.email_key = $2 AND i.state = 'pending' AND i.expires_at > clock_timestamp()
              AND e.deleted_at IS NULL
        ORDER BY i.event_id, i.id
    LOOP
        PERFORM pg_advisory_xact_lock(
            hashtextextended('family of event ' || invitation.event_id, 0));
        UPDATE events.invitations i SET state = 'accepted'
        WHERE i.id = invitation.id AND i.state = 'pending' AND i.expires_at > clock_timestamp()
        RETURNING i.event_id, i.role INTO invitation;
        IF FOUND THEN
            PERFORM events.give_role(invitation.event_id, $1, invitation.role);
        END IF;
    END LOOP;
END $$
"""

# For an account that is being deleted or blocked. Events keep their owner. Without `unpublish`,
# published events of the account stand in the way: they are returned, and nothing is changed.
RELEASE_ACCOUNT = """
CREATE FUNCTION events.release_account(user_id bigint, unpublish boolean)
RETURNS TABLE (event_id bigint, name text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
#variable_conflict use_column
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('roles of account ' || $1, 0));
    PERFORM FROM events.events e
    WHERE e.id IN (SELECT r.event_id FROM events.roles r WHERE r.user_id = $1)
    ORDER BY e.id FOR NO KEY UPDATE;
    IF NOT unpublish THEN
        RETURN QUERY SELECT e.id, e.name::text
        FROM events.events e JOIN events.roles r ON r.event_id = e.id
        WHERE r.user_id = $1 AND r.role = 'owner' AND e.state = 'published'
              AND e.deleted_at IS NULL
        ORDER BY e.id;
        IF FOUND THEN
            RETURN;
        END IF;
    END IF;
    UPDATE events.events e SET state = 'draft' FROM events.roles r
    WHERE r.event_id = e.id AND r.user_id = $1 AND r.role = 'owner' AND e.state = 'published'
          AND e.deleted_at IS NULL;
    WITH gone AS (
        DELETE FROM events.roles r WHERE r.user_id = $1 AND r.role <> 'owner'
        RETURNING r.event_id)
    UPDATE events.events e SET version = version
    WHERE e.id IN (SELECT gone.event_id FROM gone);
END $$
"""
# For an account that is being deleted, blocked or not: nothing is left of the address that it has
# proved. An address that it only claims may be another person's.
FORGET_ADDRESS = """
CREATE FUNCTION events.forget_address(user_id bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
    DELETE FROM events.invitations i USING auth.users u
    WHERE u.id = $1 AND u.is_verified AND i.email_key = u.email_key
$$
"""
FUNCTIONS = {
    "give_role(bigint, bigint, text)": "events",
    "accept_invitations(bigint, text)": "auth",
    "release_account(bigint, boolean)": "auth",
    "forget_address(bigint)": "auth",
}


def upgrade() -> None:
    op.add_column("events", sa.Column("created_by", sa.BigInteger()), schema="events")
    # No client sees a change of these rows, so neither their version nor `updated_at` changes,
    # and search need not look at them.
    op.execute("ALTER TABLE events.events DISABLE TRIGGER USER")
    op.execute(SET_CREATORS)
    op.execute("ALTER TABLE events.events ENABLE TRIGGER USER")
    op.create_foreign_key(
        "fk_events_created_by_users",
        "events",
        "users",
        ["created_by"],
        ["id"],
        source_schema="events",
        referent_schema="auth",
    )
    _create_invitations()
    op.execute(WITHDRAW_OFFERS)
    op.execute(
        "CREATE TRIGGER withdraw_offers AFTER INSERT ON events.roles FOR EACH ROW "
        "WHEN (NEW.role = 'owner') EXECUTE FUNCTION events.withdraw_offers()"
    )
    op.execute(GIVE_ROLE)
    op.execute(ACCEPT_INVITATIONS)
    op.execute(RELEASE_ACCOUNT)
    op.execute(FORGET_ADDRESS)
    op.execute("GRANT USAGE ON SCHEMA events TO almanac_auth")
    for function, service in FUNCTIONS.items():
        op.execute(f"REVOKE ALL ON FUNCTION events.{function} FROM PUBLIC")
        op.execute(f"GRANT EXECUTE ON FUNCTION events.{function} TO almanac_{service}")


def _create_invitations() -> None:
    now = sa.text("now()")
    op.create_table(
        "invitations",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.Column("event_name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("email_key", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("state", sa.String(), server_default=sa.text("'pending'"), nullable=False),
        sa.Column("invited_by", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column("updated_at", sa.DateTime(True), server_default=now, nullable=False),
        sa.Column(
            "expires_at",
            sa.DateTime(True),
            server_default=sa.text("now() + interval '14 days'"),
            nullable=False,
        ),
        sa.Column("version", sa.BigInteger(), server_default=sa.text("1"), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_invitations"),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.events.id"],
            name="fk_invitations_event_id_events",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["invited_by"], ["auth.users.id"], name="fk_invitations_invited_by_users"
        ),
        sa.CheckConstraint(
            "role IN ('owner', 'organizer', 'coorganizer')", name="ck_invitations_role"
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'accepted', 'declined', 'withdrawn')",
            name="ck_invitations_state",
        ),
        schema="events",
    )
    op.create_index(
        "uq_invitations_pending",
        "invitations",
        ["event_id", "email_key", "role"],
        unique=True,
        schema="events",
        postgresql_where=sa.text("state = 'pending'"),
    )
    for column in ("event_id", "email_key", "invited_by"):
        op.create_index(f"ix_invitations_{column}", "invitations", [column], schema="events")
    for trigger in ("raise_version", "touch_updated_at"):
        op.execute(
            f"CREATE TRIGGER {trigger} BEFORE UPDATE ON events.invitations "
            f"FOR EACH ROW EXECUTE FUNCTION public.{trigger}()"
        )


def downgrade() -> None:
    op.execute("REVOKE USAGE ON SCHEMA events FROM almanac_auth")
    op.execute("DROP TRIGGER withdraw_offers ON events.roles")
    for function in (*FUNCTIONS, "withdraw_offers()"):
        op.execute(f"DROP FUNCTION events.{function}")
    op.drop_table("invitations", schema="events")
    op.drop_constraint("fk_events_created_by_users", "events", schema="events")
    op.drop_column("events", "created_by", schema="events")
