// Where the API is, and what no JSON:API client does: exchanging a password for a token.

export const ALMANAC = process.env.ALMANAC_URL;
export const PASSWORD = "correct horse battery";

let number = 0;

// Something that no other test has used.
export function unique(what) {
  number += 1;
  return `${what}-${process.pid}-${number}`;
}

export function address() {
  return `${unique("client")}@example.org`;
}

// Makes somebody an administrator, who may add people to an event without inviting them.
export async function makeAdmin(id) {
  const data = { type: "user", id, attributes: { "is-admin": true } };
  const answer = await fetch(`${ALMANAC}/v1/users/${id}`, {
    method: "PATCH",
    headers: {
      "Content-Type": "application/vnd.api+json",
      Authorization: `Bearer ${process.env.ALMANAC_ADMIN}`,
    },
    body: JSON.stringify({ data }),
  });
  if (!answer.ok) throw new Error(`${id} is no administrator: ${await answer.text()}`);
}

export async function signIn(email) {
  const answer = await fetch(`${ALMANAC}/auth/session`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ email, password: PASSWORD }),
  });
  if (!answer.ok) throw new Error(`${email} cannot sign in: ${await answer.text()}`);
  return `Bearer ${(await answer.json()).access_token}`;
}
