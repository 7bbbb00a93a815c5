-- Beside the 5,000 events that are there: a faq type for each, 5,000 faqs of a thousand of them,
-- a thousand faqs of the first type, and events with long texts.
INSERT INTO faq.faq_types (event_id, name) SELECT id, 'Type' FROM events.events;
INSERT INTO faq.faqs (event_id, faq_type_id, question, answer, position)
SELECT event_id, id, 'Question ' || n, repeat('Answer ' || n || '. ', 20), n
FROM (SELECT * FROM faq.faq_types ORDER BY id LIMIT 1000) AS t, generate_series(1, 5) AS n;
INSERT INTO faq.faqs (event_id, faq_type_id, question, answer)
SELECT event_id, id, 'Question', 'Answer'
FROM (SELECT * FROM faq.faq_types ORDER BY id LIMIT 1) AS t, generate_series(1, 1000);
INSERT INTO events.events (name, description, starts_at, ends_at, state)
SELECT 'Long', repeat('é', 150000), '2027-05-01', '2027-05-02', 'published'
FROM generate_series(1, 100);
INSERT INTO events.events (name, description, starts_at, ends_at, state)
SELECT 'Marked', (SELECT string_agg('a' || lpad(to_hex(w + n * 400), 49, '0'), ' ')
    FROM generate_series(1, 400) AS w), '2027-05-01', '2027-05-02', 'published'
FROM generate_series(1, 100) AS n;
INSERT INTO events.roles (event_id, user_id, role)
SELECT 1, id, 'organizer' FROM auth.users WHERE email = 'hostile@example.org';
UPDATE auth.users SET is_admin = true WHERE email = 'hostile@example.org';
