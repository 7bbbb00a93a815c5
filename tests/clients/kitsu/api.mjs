// kitsu, set to keep names as they are: types and members are dasherized on our side already.

import assert from "node:assert/strict";

import Kitsu from "kitsu";

import { address, ALMANAC, PASSWORD, signIn, unique } from "../almanac.mjs";

export const DATES = { "starts-at": "2027-05-01T09:00:00Z", "ends-at": "2027-05-02T17:00:00Z" };

// kitsu has one name for the type and the path; ours is plural in the path alone.
export function connect(options = {}) {
  const api = new Kitsu({
    baseURL: `${ALMANAC}/v1`,
    camelCaseTypes: false,
    resourceCase: "none",
    pluralize: false,
    ...options,
  });
  api.interceptors.request.use((config) => {
    config.url = config.url.replace(/^[a-z-]+/, (type) => `${type}s`);
    return config;
  });
  api.interceptors.response.use(null, (error) => {
    error.message += `: ${JSON.stringify(error.response?.data)}`;
    throw error;
  });
  return api;
}

// Somebody new: the id of their account, and kitsu signed in as them.
export async function signUp() {
  const email = address();
  const user = { email, password: PASSWORD, "first-name": "Ada" };
  const { data, status } = await connect().post("user", user);
  assert.equal(status, 201);
  assert.equal(data["first-name"], "Ada");
  assert.equal("password" in data, false);
  return { id: data.id, api: connect({ headers: { Authorization: await signIn(email) } }) };
}

export async function newEvent(api, members = {}, config = {}) {
  const given = { name: unique("Event"), ...DATES, state: "published", ...members };
  return (await api.post("event", given, config)).data;
}

// Linkage, as kitsu takes it among attributes.
export function to(...resources) {
  return { data: resources.map(({ type, id }) => ({ type, id })) };
}

export function toOne({ type, id }) {
  return { data: { type, id } };
}

export function ids(resources) {
  return resources.map((each) => each.id);
}

// What kitsu rejects with: the status, and the errors of the document.
export async function refusal(promise) {
  const error = await promise.then(
    () => assert.fail("nothing was refused"),
    (reason) => reason,
  );
  assert.ok(error.response, error);
  return { status: error.response.status, errors: error.errors };
}
