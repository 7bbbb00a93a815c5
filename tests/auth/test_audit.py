"""The audit of accounts, as people and administrators read it."""

from tests.client import Account, Client


async def test_the_audit_shows_people_their_own_entries_and_administrators_all(
    api: Client, user: Account, stranger: Account, admin: Account
) -> None:
    body = {"email": user.email, "password": "wrong"}
    assert (await api.request("POST", "/auth/session", body)).status_code == 401
    path = "/v1/audit-entries?sort=-created-at&include=user"
    document = (await api.get(path, by=user)).json()
    newest = document["data"][0]
    assert newest["attributes"]["action"] == "sign-in-refused"
    assert newest["attributes"]["client-address"] == "127.0.0.1"
    owners = {each["relationships"]["user"]["data"]["id"] for each in document["data"]}
    assert owners == {str(user.id)}
    for account, status in ((user, 200), (admin, 200), (stranger, 404), (None, 404)):
        answer = await api.get(f"/v1/audit-entries/{newest['id']}", by=account)
        assert answer.status_code == status
    of_all = await api.get("/v1/audit-entries?page[size]=1&page[count]=true", by=admin)
    assert of_all.json()["meta"]["count"] > len(document["data"])
    assert (await api.get("/v1/audit-entries")).json()["data"] == []
    gone = await api.delete(f"/v1/audit-entries/{newest['id']}", by=user)
    assert gone.status_code == 405
