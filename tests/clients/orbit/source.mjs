// Orbit.js: camelCase records on our side, dasherized documents on the wire.

import assert from "node:assert/strict";

import { JSONAPISerializers, JSONAPISource } from "@orbit/jsonapi";
import { RecordKeyMap, RecordSchema } from "@orbit/records";

import { address, ALMANAC, PASSWORD, signIn, unique } from "../almanac.mjs";

export const DATES = {
  startsAt: new Date("2027-05-01T09:00:00Z"),
  endsAt: new Date("2027-05-02T17:00:00Z"),
};
const text = { type: "string" };
const one = (type) => ({ kind: "hasOne", type });
const many = (type) => ({ kind: "hasMany", type });

// Records have ids of Orbit's own making; what the server gives is their key.
const schema = new RecordSchema({
  models: {
    user: {
      keys: { remoteId: {} },
      attributes: { email: text, password: text, firstName: text, lastName: text },
    },
    event: {
      keys: { remoteId: {} },
      attributes: {
        name: text,
        startsAt: { type: "datetime" },
        endsAt: { type: "datetime" },
        locationName: text,
        online: { type: "boolean" },
        state: text,
      },
      relationships: {
        owner: one("user"),
        organizers: many("user"),
        coorganizers: many("user"),
        faqs: many("faq"),
        faqTypes: many("faqType"),
      },
    },
    faq: {
      keys: { remoteId: {} },
      attributes: { question: text, answer: text, position: { type: "number" } },
      relationships: { event: one("event"), faqType: one("faqType") },
    },
    faqType: {
      keys: { remoteId: {} },
      attributes: { name: text, position: { type: "number" } },
      relationships: { event: one("event"), faqs: many("faq") },
    },
  },
});

// Types stay singular in documents; Orbit adds the plural and the dashes to paths by itself.
const dasherized = { serializationOptions: { inflectors: ["dasherize"] } };
const DASHERIZED = [
  JSONAPISerializers.ResourceType,
  JSONAPISerializers.ResourceTypeParam,
  JSONAPISerializers.ResourceField,
  JSONAPISerializers.ResourceFieldParam,
];

// A new source for each test: Orbit stops the queue of one that a request has failed in.
export function connect(headers = {}) {
  const source = new JSONAPISource({
    schema,
    keyMap: new RecordKeyMap(),
    host: ALMANAC,
    namespace: "v1",
    defaultFetchSettings: { headers },
    serializerSettingsFor: (type) => (DASHERIZED.includes(type) ? dasherized : undefined),
  });
  for (const failure of ["queryFail", "updateFail"]) {
    source.on(failure, (_, error) => {
      error.message += `: ${JSON.stringify(error.data)}`;
    });
  }
  return source;
}

// Somebody new: the key of their account, and the headers that sign their requests.
export async function signUp() {
  const email = address();
  const attributes = { email, password: PASSWORD, firstName: "Ada" };
  const user = await connect().update((t) => t.addRecord({ type: "user", attributes }));
  assert.equal(user.attributes.firstName, "Ada");
  return { remoteId: user.keys.remoteId, headers: { Authorization: await signIn(email) } };
}

// The identity of a record whose key we have from elsewhere.
export function known(source, type, remoteId) {
  const keys = { remoteId };
  const id = source.keyMap.idFromKeys(type, keys) ?? schema.generateId(type);
  source.keyMap.pushRecord({ type, id, keys });
  return { type, id };
}

export function newEvent(source, attributes = {}, relationships = {}) {
  const given = { name: unique("Event"), ...DATES, state: "published", ...attributes };
  return source.update((t) => t.addRecord({ type: "event", attributes: given, relationships }));
}

export function guardedBy(version) {
  return { settings: { headers: { "If-Match": `"${version}"` } } };
}

export function ids(records) {
  return records.map((each) => each.id);
}

// What Orbit rejects with: the status, and the errors of the document.
export async function refusal(source, promise) {
  const error = await promise.then(
    () => assert.fail("nothing was refused"),
    (reason) => reason,
  );
  assert.ok(error.response, error);
  await source.requestQueue.skip(error);
  return { status: error.response.status, errors: error.data.errors };
}
