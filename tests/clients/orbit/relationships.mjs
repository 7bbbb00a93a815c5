// Orbit.js reads relationships, adds to them, replaces them and removes from them.

import assert from "node:assert/strict";
import { before, beforeEach, test } from "node:test";

import { makeAdmin } from "../almanac.mjs";
import { connect, guardedBy, ids, known, newEvent, refusal, signUp } from "./source.mjs";

let ada, source, first, second;

before(async () => {
  ada = { ...(await signUp()), friends: [await signUp(), await signUp()] };
  await makeAdmin(ada.remoteId);
});

beforeEach(() => {
  source = connect(ada.headers);
  [first, second] = ada.friends.map(({ remoteId }) => known(source, "user", remoteId));
});

function newFaq(event, question) {
  const attributes = { question, answer: "Yes." };
  const relationships = { event: { data: event } };
  return source.update((t) => t.addRecord({ type: "faq", attributes, relationships }));
}

function newFaqType(event, name, faqs = []) {
  const relationships = { event: { data: event }, faqs: { data: faqs } };
  return source.update((t) =>
    t.addRecord({ type: "faqType", attributes: { name }, relationships }),
  );
}

async function members(record, relationship) {
  return ids(await source.query((q) => q.findRelatedRecords(record, relationship)));
}

test("a record is added together with its relationships", async () => {
  const event = await newEvent(source, {}, { organizers: { data: [first, second] } });
  assert.deepEqual(await members(event, "organizers"), [first.id, second.id]);
});

test("records are added to a relationship and removed from it", async () => {
  const event = await newEvent(source);
  await source.update((t) => [
    t.addToRelatedRecords(event, "organizers", first),
    t.addToRelatedRecords(event, "organizers", second),
  ]);
  await source.update((t) => t.addToRelatedRecords(event, "organizers", second));
  assert.deepEqual(await members(event, "organizers"), [first.id, second.id]);
  await source.update((t) => t.removeFromRelatedRecords(event, "organizers", first));
  assert.deepEqual(await members(event, "organizers"), [second.id]);
});

test("the records of a relationship are replaced", async () => {
  const event = await newEvent(source);
  await source.update((t) => t.replaceRelatedRecords(event, "coorganizers", [first, second]));
  await source.update((t) => t.replaceRelatedRecords(event, "coorganizers", [second]));
  assert.deepEqual(await members(event, "coorganizers"), [second.id]);
  await source.update((t) => t.replaceRelatedRecords(event, "coorganizers", []));
  assert.deepEqual(await members(event, "coorganizers"), []);
});

test("a change of a relationship is guarded by the version of its record", async () => {
  const event = await newEvent(source);
  const add = (user) =>
    source.update(
      (t) => t.addToRelatedRecords(event, "organizers", user),
      guardedBy(event.meta.version),
    );
  await add(first);
  const { status, errors } = await refusal(source, add(second));
  assert.equal(status, 412);
  assert.equal(errors[0].meta["current-version"], event.meta.version + 1);
});

test("the owner is replaced", async () => {
  const event = await newEvent(source);
  await source.update((t) => t.replaceRelatedRecord(event, "owner", first));
  const owner = await source.query((q) => q.findRelatedRecord(event, "owner"));
  assert.equal(owner.id, first.id);
});

test("a record that is missing cannot be related to", async () => {
  const event = await newEvent(source);
  const nobody = known(source, "user", "999999999");
  // Orbit takes no 404 for a failure; it shows in the details alone.
  const { details } = await source.update(
    (t) => t.addToRelatedRecords(event, "organizers", nobody),
    { fullResponse: true },
  );
  assert.equal(details[0].response.status, 404);
  assert.deepEqual(await members(event, "organizers"), []);
});

test("an event cannot be left without an owner", async () => {
  const event = await newEvent(source);
  const update = source.update((t) => t.replaceRelatedRecord(event, "owner", null));
  const { status, errors } = await refusal(source, update);
  assert.equal(status, 403);
  assert.match(errors[0].source.pointer, /^\/data\/relationships\/owner/);
});

test("a dasherized to-one relationship is replaced and emptied", async () => {
  const event = await newEvent(source);
  const faq = await newFaq(event, "Is there coffee?");
  const type = await newFaqType(event, "Food");
  const replaced = await source.update((t) => t.replaceRelatedRecord(faq, "faqType", type));
  assert.deepEqual(replaced.relationships.faqType.data, { type: "faqType", id: type.id });
  const found = await source.query((q) => q.findRelatedRecord(faq, "faqType"));
  assert.equal(found.attributes.name, "Food");
  await source.update((t) => t.replaceRelatedRecord(faq, "faqType", null));
  assert.equal(await source.query((q) => q.findRelatedRecord(faq, "faqType")), null);
});

test("the inverse of a to-one relationship is written to", async () => {
  const event = await newEvent(source);
  const faqs = [await newFaq(event, "Tea?"), await newFaq(event, "Cake?")];
  const type = await newFaqType(event, "Food", [faqs[0]]);
  await source.update((t) => t.addToRelatedRecords(type, "faqs", faqs[1]));
  assert.deepEqual(await members(type, "faqs"), ids(faqs));
  await source.update((t) => t.replaceRelatedRecords(type, "faqs", [faqs[1]]));
  assert.deepEqual(await members(type, "faqs"), [faqs[1].id]);
});

test("related records are included, filtered and sorted", async () => {
  const event = await newEvent(source);
  const faqs = [await newFaq(event, "Tea?"), await newFaq(event, "Cake?")];
  const type = await newFaqType(event, "Food", faqs);
  assert.deepEqual(await members(event, "faqTypes"), [type.id]);
  const found = await source.query((q) =>
    q
      .findRelatedRecords(event, "faqs")
      .sort("question")
      .options({ include: ["faqType", "event"] }),
  );
  assert.deepEqual(ids(found), [faqs[1].id, faqs[0].id]);
  assert.deepEqual(found[0].relationships.faqType.data, { type: "faqType", id: type.id });
  const [tea] = await source.query((q) =>
    q.findRelatedRecords(event, "faqs").filter({ attribute: "question", value: "Tea?" }),
  );
  assert.equal(tea.id, faqs[0].id);
});
