// Orbit.js finds, adds, updates and removes records.

import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";

import { unique } from "../almanac.mjs";
import { connect, DATES, guardedBy, ids, known, newEvent, refusal, signUp } from "./source.mjs";

let ada, source;

before(async () => {
  ada = await signUp();
});

beforeEach(() => {
  source = connect(ada.headers);
});

function read(record, options = {}) {
  return source.query((q) => q.findRecord(record).options(options));
}

test("a record is added and gets its key from the server", async () => {
  const event = await newEvent(source, { locationName: "Zürich" });
  assert.match(event.keys.remoteId, /^[0-9]+$/);
  assert.equal(event.attributes.locationName, "Zürich");
  assert.deepEqual(event.attributes.startsAt, DATES.startsAt);
  assert.equal(event.links.self, `/v1/events/${event.keys.remoteId}`);
  assert.equal(event.meta.version, 1);
});

test("a record is found with what it includes", async () => {
  const event = await newEvent(source);
  const { data, transforms } = await source.query(
    (q) => q.findRecord(event).options({ include: ["owner", "organizers"] }),
    { fullResponse: true },
  );
  assert.equal(data.attributes.name, event.attributes.name);
  const owner = known(source, "user", ada.remoteId);
  assert.deepEqual(data.relationships.owner.data, owner);
  assert.deepEqual(data.relationships.organizers.data, []);
  const [, ...included] = transforms[0].operations.map((each) => each.record);
  assert.deepEqual(ids(included), [owner.id]);
  assert.equal(included[0].attributes.firstName, "Ada");
});

test("records are filtered, sorted, paged and thinned out", async () => {
  const name = unique("Page");
  const events = [];
  for (const day of ["03", "01", "02"]) {
    const startsAt = new Date(`2027-04-${day}T09:00:00Z`);
    events.push(await newEvent(source, { name, startsAt }));
  }
  // Orbit's own page() knows offsets only; other ways of paging are its options.
  const page = (number) =>
    source.query(
      (q) =>
        q
          .findRecords("event")
          .filter({ attribute: "name", value: name })
          .sort("-startsAt", { attribute: "locationName" })
          .options({ page: { number, size: 2 }, fields: { event: ["name", "startsAt"] } }),
      { fullResponse: true },
    );
  const first = await page(1);
  assert.deepEqual(ids(first.data), [events[0].id, events[2].id]);
  assert.deepEqual(Object.keys(first.data[0].attributes).sort(), ["name", "startsAt"]);
  assert.match(first.details[0].document.links.next, /page%5Bnumber%5D=2/);
  assert.deepEqual(ids((await page(2)).data), [events[1].id]);
});

test("records are filtered by a related record and by several attributes", async () => {
  const name = unique("Owned");
  const event = await newEvent(source, { name, online: true });
  await newEvent(source, { name });
  const found = await source.query((q) =>
    q.findRecords("event").options({ filter: { owner: ada.remoteId, online: true, name } }),
  );
  assert.deepEqual(ids(found), [event.id]);
});

test("records are filtered by a function", async () => {
  const name = unique("Function");
  await newEvent(source, { name, startsAt: new Date("2027-03-01T09:00:00Z") });
  const late = await newEvent(source, { name });
  const filter = `and(equals(name,'${name}'),greaterThan(starts-at,'2027-04-01T00:00:00Z'))`;
  const found = await source.query((q) =>
    q.findRecords("event").options({ settings: { params: { filter } } }),
  );
  assert.deepEqual(ids(found), [late.id]);
});

test("a record is updated, what is not sent stays", async () => {
  const event = await newEvent(source);
  const { type, id } = event;
  const record = { type, id, attributes: { locationName: "Bern", online: true } };
  const updated = await source.update((t) => t.updateRecord(record));
  assert.equal(updated.attributes.locationName, "Bern");
  assert.equal(updated.attributes.online, true);
  assert.equal(updated.attributes.name, event.attributes.name);
  const replaced = await source.update((t) => t.replaceAttribute(event, "locationName", null));
  assert.equal(replaced.attributes.locationName, null);
  assert.equal(replaced.meta.version, event.meta.version + 2);
});

test("of two updates from one reading the second is refused", async () => {
  const event = await newEvent(source);
  const update = (name) =>
    source.update((t) => t.replaceAttribute(event, "name", name), guardedBy(event.meta.version));
  const updated = await update("First");
  const { status, errors } = await refusal(source, update("Second"));
  assert.equal(status, 412);
  assert.deepEqual(errors[0].source, { header: "If-Match" });
  assert.equal(errors[0].meta["current-version"], updated.meta.version);
});

test("every mistake in a record is an error with its pointer", async () => {
  const attributes = { name: "x".repeat(501), locationName: "x".repeat(501) };
  const { status, errors } = await refusal(source, newEvent(source, attributes));
  assert.equal(status, 422);
  assert.deepEqual(errors.map((each) => each.source.pointer).sort(), [
    "/data/attributes/location-name",
    "/data/attributes/name",
  ]);
});

test("what is not there is undefined, what is wrong in a query an error", async () => {
  const nobody = known(source, "event", "999999999");
  assert.equal(await read(nobody), undefined);
  const { status, errors } = await refusal(source, read(nobody, { include: ["owner", "fans"] }));
  assert.equal(status, 400);
  assert.deepEqual(errors[0].source, { parameter: "include" });
});

test("a record is removed", async () => {
  const event = await newEvent(source);
  const remove = (version) =>
    source.update((t) => t.removeRecord(event), guardedBy(version));
  assert.equal((await refusal(source, remove(event.meta.version + 1))).status, 412);
  await remove(event.meta.version);
  assert.equal(await read(event), undefined);
});

test("several changes are sent one after the other", async () => {
  const event = await newEvent(source);
  const [first, second] = await source.update((t) => [
    t.replaceAttribute(event, "name", "Renamed"),
    t.addRecord({
      type: "faq",
      attributes: { question: "Is there coffee?", answer: "Yes." },
      relationships: { event: { data: event } },
    }),
  ]);
  assert.equal(first.attributes.name, "Renamed");
  assert.deepEqual(second.relationships.event.data, { type: "event", id: event.id });
});
