// kitsu reads, creates, changes and deletes resources.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { unique } from "../almanac.mjs";
import { connect, DATES, ids, newEvent, refusal, signUp } from "./api.mjs";

let ada, api, grace;

before(async () => {
  ada = await signUp();
  grace = await signUp();
  api = ada.api;
});

async function newEvents(...names) {
  const events = [];
  for (const name of names) events.push(await newEvent(api, { name }));
  return events;
}

test("an event is created, with dasherized names and its location", async () => {
  const answer = await api.post("event", { name: "Kitsu meets", ...DATES });
  assert.equal(answer.status, 201);
  assert.equal(answer.headers.location, answer.data.links.self);
  assert.equal(answer.data.type, "event");
  assert.equal(Date.parse(answer.data["starts-at"]), Date.parse(DATES["starts-at"]));
  assert.equal(answer.data.meta.version, 1);
});

test("one event is read with what is related to it", async () => {
  const { id } = await newEvent(api);
  const { data } = await api.get(`event/${id}`, { params: { include: "owner,organizers" } });
  assert.equal(data.id, id);
  assert.equal(data.owner.data["first-name"], "Ada");
  assert.deepEqual(data.organizers.data, []);
  assert.equal(data.organizers.links.related, `/v1/events/${id}/organizers`);
});

test("collections are filtered, sorted, paged and thinned out", async () => {
  const name = unique("Page");
  const events = [];
  for (const day of ["03", "01", "02"]) {
    events.push(await newEvent(api, { name, "starts-at": `2027-04-${day}T09:00:00Z` }));
  }
  const params = {
    filter: { name },
    sort: "-starts-at",
    page: { size: 2, count: true },
    fields: { event: "name,starts-at" },
  };
  const first = await api.get("event", { params });
  assert.deepEqual(ids(first.data), [events[0].id, events[2].id]);
  assert.deepEqual(Object.keys(first.data[0]).sort(), [
    "id", "links", "meta", "name", "starts-at", "type",
  ]);
  assert.equal(first.meta.count, 3);
  assert.equal(first.links.prev, null);
  const rest = await api.get("event", { params: { ...params, page: { size: 2, number: 2 } } });
  assert.deepEqual(ids(rest.data), [events[1].id]);
  assert.equal(rest.links.next, null);
});

test("the links of a page lead through a collection", async () => {
  const name = unique("Link");
  const created = await newEvents(name, name, name);
  const seen = [];
  let answer = await api.get("event", { params: { filter: { name }, page: { size: 2 } } });
  while (answer) {
    seen.push(...ids(answer.data));
    const { next } = answer.links;
    answer = next && (await api.request({ url: next.replace("/v1/events", "event") }));
  }
  assert.deepEqual(seen, ids(created));
});

test("cursors lead through a collection", async () => {
  const name = unique("Cursor");
  const created = await newEvents(name, name, name);
  const params = { filter: { name }, page: { size: 2 } };
  const profile = "https://jsonapi.org/profiles/ethanresnick/cursor-pagination";
  const headers = { Accept: `application/vnd.api+json; profile="${profile}"` };
  const first = await api.get("event", { params, headers });
  assert.match(first.headers["content-type"], /profile="/);
  const after = first.data[1].meta.page.cursor;
  const next = { ...params, page: { size: 2, after } };
  const rest = await api.get("event", { params: next, headers });
  assert.deepEqual(ids([...first.data, ...rest.data]), ids(created));
  assert.equal(rest.links.next, null);
});

test("a filter may be a function", async () => {
  const name = unique("Function");
  await newEvent(api, { name, "starts-at": "2027-03-01T09:00:00Z" });
  const late = await newEvent(api, { name });
  const filter = `and(equals(name,'${name}'),greaterThan(starts-at,'2027-04-01T00:00:00Z'))`;
  const { data } = await api.get("event", { params: { filter } });
  assert.deepEqual(ids(data), [late.id]);
});

test("both ways of writing lists of values are understood", async () => {
  const names = [unique("One"), unique("Two")];
  const created = await newEvents(...names);
  const asText = await api.get("event", { params: { filter: { name: names.join() } } });
  assert.deepEqual(ids(asText.data), ids(created));
  const modern = await connect({ query: "modern" }).get("event", {
    params: { filter: { name: names } },
  });
  assert.deepEqual(ids(modern.data), ids(created));
});

test("an event is changed, what is not sent stays", async () => {
  const event = await newEvent(api);
  const { data } = await api.patch("event", { id: event.id, "location-name": "Zürich" });
  assert.equal(data["location-name"], "Zürich");
  assert.equal(data.name, event.name);
  assert.equal(data.meta.version, event.meta.version + 1);
});

test("of two changes from one reading the second is refused", async () => {
  const { id } = await newEvent(api);
  const { headers } = await api.get(`event/${id}`);
  const guarded = { headers: { "If-Match": headers.etag } };
  const first = await api.patch("event", { id, name: "First" }, guarded);
  assert.equal(first.status, 200);
  const { status, errors } = await refusal(api.patch("event", { id, name: "Second" }, guarded));
  assert.equal(status, 412);
  assert.deepEqual(errors[0].source, { header: "If-Match" });
  assert.equal(errors[0].meta["current-version"], first.data.meta.version);
  const chained = { headers: { "If-Match": first.headers.etag } };
  assert.equal((await api.delete("event", id, chained)).status, 204);
});

test("an unchanged event is not sent again", async () => {
  const { id } = await newEvent(api);
  const { headers } = await api.get(`event/${id}`);
  const { status } = await api.get(`event/${id}`, {
    headers: { "If-None-Match": headers.etag },
    axiosOptions: { validateStatus: (code) => code === 304 },
  });
  assert.equal(status, 304);
});

test("every mistake in a body is an error with its pointer", async () => {
  const body = { name: 1, "starts-at": "soon", "organiser-name": "Ada" };
  const { status, errors } = await refusal(api.post("event", body));
  assert.equal(status, 422);
  assert.deepEqual(errors.map((each) => each.source.pointer).sort(), [
    "/data/attributes/name",
    "/data/attributes/organiser-name",
    "/data/attributes/starts-at",
  ]);
});

test("what is not there is a 404, what is wrong in a query a 400", async () => {
  const missing = await refusal(api.get("event/999999999"));
  assert.equal(missing.status, 404);
  assert.equal(missing.errors[0].status, "404");
  const wrong = await refusal(api.get("event", { params: { include: "owner.friends" } }));
  assert.equal(wrong.status, 400);
  assert.deepEqual(wrong.errors[0].source, { parameter: "include" });
});

test("a stranger changes nothing", async () => {
  const { id } = await newEvent(api);
  const { status } = await refusal(grace.api.patch("event", { id, name: "Mine" }));
  assert.equal(status, 403);
});

test("an event is deleted", async () => {
  const { id } = await newEvent(api);
  assert.equal((await api.delete("event", id)).status, 204);
  assert.equal((await refusal(api.get(`event/${id}`))).status, 404);
  assert.equal((await refusal(api.delete("event", id))).status, 404);
});
