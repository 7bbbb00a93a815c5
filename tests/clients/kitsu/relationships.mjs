// kitsu reads and changes relationships, in their own documents and in those of resources.

import assert from "node:assert/strict";
import { before, test } from "node:test";

import { makeAdmin } from "../almanac.mjs";
import { ids, newEvent, refusal, signUp, to, toOne } from "./api.mjs";

let ada, api, grace;

before(async () => {
  ada = await signUp();
  grace = { type: "user", ...(await signUp()) };
  api = ada.api;
  await makeAdmin(ada.id);
});

async function newFaqs(event, ...questions) {
  const faqs = [];
  for (const question of questions) {
    const { data } = await api.post("faq", { question, answer: "Yes.", event: toOne(event) });
    faqs.push(data);
  }
  return faqs;
}

test("an event is created together with its organizers", async () => {
  const event = await newEvent(
    api,
    { organizers: to(grace) },
    { params: { include: "owner,organizers" } },
  );
  assert.equal(event.owner.data.id, ada.id);
  assert.equal(event.owner.data["first-name"], "Ada");
  assert.deepEqual(ids(event.organizers.data), [grace.id]);
});

test("members are added to, replaced in and removed from a relationship", async () => {
  const { id } = await newEvent(api);
  const url = `event/${id}/relationships/organizers`;
  const members = async () => ids((await api.get(url)).data);
  const add = { url, method: "POST", type: "user", body: [{ id: grace.id }] };
  await api.request(add);
  await api.request(add);
  assert.deepEqual(await members(), [grace.id]);
  // kitsu would name the members of a DELETE by the relationship, so their types are spelt out.
  await api.request({ url, method: "DELETE", axiosOptions: { data: to(grace) } });
  assert.deepEqual(await members(), []);
  await api.request({ url, method: "PATCH", type: "user", body: [{ id: grace.id }] });
  assert.deepEqual(await members(), [grace.id]);
  await api.request({ url, method: "PATCH", type: "user", body: [] });
  assert.deepEqual(await members(), []);
});

test("a change of a relationship is guarded by the version of its parent", async () => {
  const event = await newEvent(api);
  const request = {
    url: `event/${event.id}/relationships/organizers`,
    method: "PATCH",
    type: "user",
    body: [{ id: grace.id }],
    headers: { "If-Match": `"${event.meta.version}"` },
  };
  await api.request(request);
  assert.equal((await refusal(api.request(request))).status, 412);
});

test("relationships are replaced in the body of a resource", async () => {
  const { id } = await newEvent(api);
  const body = { id, organizers: to(grace) };
  const { data } = await api.patch("event", body, { params: { include: "organizers" } });
  assert.deepEqual(ids(data.organizers.data), [grace.id]);
  assert.equal(data.organizers.data[0]["first-name"], "Ada");
});

test("the owner hands an event on", async () => {
  const { id } = await newEvent(api);
  await api.patch("event", { id, owner: toOne(grace) });
  const { data } = await api.get(`event/${id}/owner`);
  assert.equal(data.id, grace.id);
});

test("faqs get a type, and lose it", async () => {
  const event = await newEvent(api);
  const [faq] = await newFaqs(event, "Is there coffee?");
  const { data: type } = await api.post("faq-type", { name: "Food", event: toOne(event) });
  assert.equal(type.type, "faq-type");
  const { data } = await api.patch(
    "faq",
    { id: faq.id, "faq-type": toOne(type) },
    { params: { include: "faq-type" } },
  );
  assert.equal(data["faq-type"].data.name, "Food");
  const url = `faq/${faq.id}/relationships/faq-type`;
  await api.request({ url, method: "PATCH", type: "faq-type", body: null });
  assert.equal((await api.get(url)).data, null);
  assert.equal((await api.get(`faq/${faq.id}/faq-type`)).data, null);
});

test("a type is created with its faqs, which are read under their event", async () => {
  const event = await newEvent(api);
  const faqs = await newFaqs(event, "Is there tea?", "Is there cake?");
  const { data: type } = await api.post(
    "faq-type",
    { name: "Food", event: toOne(event), faqs: to(...faqs) },
    { params: { include: "faqs" } },
  );
  assert.deepEqual(ids(type.faqs.data), ids(faqs));
  const { data } = await api.get(`event/${event.id}/faqs`, {
    params: { include: "faq-type,event", sort: "-id", fields: { event: "name" } },
  });
  assert.deepEqual(ids(data), ids(faqs).reverse());
  assert.equal(data[0]["faq-type"].data.name, "Food");
  assert.equal(data[1].event.data.name, event.name);
});
