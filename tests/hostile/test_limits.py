"""What is refused before it costs much: bodies, errors, headers, filters, and where limits lie."""

from typing import Any

import httpx
import orjson
import pytest

from shared.errors import MAX_ERRORS
from shared.jsonapi.html import MAX_AMPERSANDS, MAX_TAGS
from shared.jsonapi.query.filters import MAX_LIKE
from shared.jsonapi.query.parser import MAX_FIELDS, MAX_SORT_KEYS
from shared.jsonapi.strict import MAX_DEPTH, MAX_VALUES
from tests.client import MEDIA_TYPE, PASSWORD, Account, Client


async def post(api: Client, path: str, body: bytes, **headers: str) -> httpx.Response:
    sent = {"Content-Type": MEDIA_TYPE, **headers}
    answer = await api.client.post(path, content=body, headers=sent)
    await api.check(answer)
    return answer


def the_error(answer: httpx.Response, status: int, **source: str) -> str:
    """The detail of the one error of an answer."""
    assert answer.status_code == status, answer.text
    (error,) = answer.json()["errors"]
    assert error["source"] == source
    detail: str = error["detail"]
    return detail


@pytest.mark.parametrize(
    "accept", ['"' + '\\"' * 15_500, '"a' * 15_000, 'a/b;c="' + "\\" * 30_000]
)
async def test_a_quote_that_is_never_closed_is_no_media_type(api: Client, accept: str) -> None:
    answer = await api.get("/v1/events", headers={"Accept": accept})
    the_error(answer, 406, header="Accept")


async def test_what_stands_before_such_a_quote_still_counts(api: Client) -> None:
    answer = await api.get("/v1/events", headers={"Accept": f'{MEDIA_TYPE}, "' + '\\"' * 10_000})
    assert answer.status_code == 200


async def test_a_content_type_of_quotes_is_refused(api: Client, user: Account) -> None:
    token = f"Bearer {user.token}"
    sent = {"Content-Type": f'{MEDIA_TYPE};a="' + '\\"' * 15_000, "Authorization": token}
    answer = await post(api, "/v1/events", b"{}", **sent)
    the_error(answer, 415, header="Content-Type")


async def test_thousands_of_entity_tags_are_read(api: Client, user: Account) -> None:
    event = await api.event(user)
    path = f"/v1/events/{event['id']}"
    answer = await api.get(path, headers={"If-None-Match": '"a",' * 7000 + '"a"'})
    assert answer.status_code == 200
    answer = await api.get(path, headers={"If-None-Match": '"a",' * 7000 + '"'})
    the_error(answer, 400, header="If-None-Match")


@pytest.mark.parametrize("path", ["/auth/session", "/v1/users"])
@pytest.mark.parametrize(
    "body",
    [
        b'{"a":[%b0]}' % (b"[]," * 300_000),
        b'{"a":[%b0]}' % (b"0," * 500_000),
        b'{"a":[%b0]}' % (b"{}," * 300_000),
        b'{"%b":[%b0]}' % (b"K" * 300_000, b"0," * 340_000),
        b'{"a":0%b}' % (b',"a":0' * 150_000),
    ],
    ids=["lists", "numbers", "objects", "a long name", "a name again"],
)
async def test_a_body_of_too_many_values_is_400(api: Client, path: str, body: bytes) -> None:
    answer = await post(api, path, body)
    assert str(MAX_VALUES) in the_error(answer, 400, pointer="")


async def test_the_limit_of_values_is_where_it_is_said_to_be(api: Client) -> None:
    fits = b'{"a":[%b0]}' % (b"0," * (MAX_VALUES - 2))
    answer = await post(api, "/v1/users", fits)
    assert "`data`" in the_error(answer, 400, pointer="")
    answer = await post(api, "/v1/users", fits.replace(b"[0,", b"[0,0,"))
    assert str(MAX_VALUES) in the_error(answer, 400, pointer="")


async def test_faults_are_pointed_to(api: Client) -> None:
    depth = MAX_DEPTH - 1
    answer = await post(api, "/v1/users", b'{"~a/":[1,%b1%b]}' % (b"[" * depth, b"]" * depth))
    the_error(answer, 400, pointer="/~0a~1/1" + "/0" * (depth - 1))
    answer = await post(api, "/v1/users", rb'{"a":[{},{"b":{"c":":","\u0063":2}}]}')
    the_error(answer, 400, pointer="/a/1/b")
    # What only looks like a name given twice stands within a text.
    answer = await post(api, "/v1/users", rb'{"data":"\"a\":1,\"a\":1,\\","b":"\\\":"}')
    the_error(answer, 400, pointer="/data")


def sign_up(count: int) -> dict[str, Any]:
    unknown = {f"{number:x}": 0 for number in range(count)}
    attributes = {"email": "new@example.org", "password": PASSWORD, **unknown}
    return {"data": {"type": "user", "attributes": attributes}}


@pytest.mark.parametrize("count", [MAX_ERRORS, MAX_ERRORS + 1, 100_000])
async def test_of_many_errors_fifty_are_shown_and_the_rest_counted(
    api: Client, count: int
) -> None:
    answer = await post(api, "/v1/users", orjson.dumps(sign_up(count)))
    assert answer.status_code == 422
    errors = answer.json()["errors"]
    assert [each["source"]["pointer"] for each in errors[:MAX_ERRORS]] == [
        f"/data/attributes/{number:x}" for number in range(MAX_ERRORS)
    ]
    more = count - MAX_ERRORS
    assert [each["detail"] for each in errors[MAX_ERRORS:]] == (
        [f"There are {more} more errors; correct these first."] if more else []
    )
    assert len(answer.content) < 20_000


async def test_errors_of_all_kinds_are_counted_together(api: Client, user: Account) -> None:
    links = {f"x{number}": {"data": None} for number in range(40)}
    data = {**sign_up(30)["data"], "type": "event", "relationships": links}
    answer = await api.request("POST", "/v1/events", {"data": data}, by=user)
    # Beside the unknown ones: email, password, and the name that is missing.
    assert f"There are {30 + 40 + 3 - MAX_ERRORS} more" in answer.json()["errors"][-1]["detail"]
    operations = {"atomic:operations": [{"op": "add", "data": data}]}
    media_type = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'
    headers = {"Content-Type": media_type, "Accept": media_type}
    answer = await api.request("POST", "/v1/operations", operations, by=user, headers=headers)
    assert f"There are {30 + 40 + 3 - MAX_ERRORS} more" in answer.json()["errors"][-1]["detail"]


async def test_a_long_name_is_not_repeated_in_full(api: Client) -> None:
    document = sign_up(0)
    document["data"]["attributes"]["\x7f" * 300_000] = 0
    answer = await api.request("POST", "/v1/users", document)
    assert answer.status_code == 422
    assert len(answer.json()["errors"][0]["detail"]) < 1100


async def test_lids_below_a_long_name_are_refused_in_good_time(api: Client, user: Account) -> None:
    linked = [{"type": "faq", "lid": "a"}] * 20_000
    data = {"type": "faq-type", "relationships": {"K" * 200_000: {"data": linked}}}
    media_type = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'
    answer = await api.request(
        "POST",
        "/v1/operations",
        {"atomic:operations": [{"op": "add", "data": data}]},
        by=user,
        headers={"Content-Type": media_type, "Accept": media_type},
    )
    assert answer.status_code == 422


NESTED = "has(faqs,has(faq-type,has(faqs,has(faq-type,has(faqs,has(faq-type,isNull(name)))))))"
TOO_DEAR = [
    ("faq-types", "filter", f"or({','.join([NESTED] * 12)})"),
    ("faq-types", "filter", "or(has(faqs)" + ",has(faqs)" * 6 + ")"),
    ("faq-types", "filter", "has(faqs,has(faq-type,has(faqs,has(faq-type))))"),
    ("faqs", "filter", "or(isNull(event.name)" + ",isNull(event.name)" * 6 + ")"),
    ("events", "filter", "or(contains(name,'a')" + ",contains(name,'a')" * 16 + ")"),
    ("events", "filter", "or(" + ",".join(["any(id" + ",'1'" * 99 + ")"] * 6) + ")"),
    ("events", "filter", "or(contains(description,'a'),contains(code-of-conduct,'a'),isNull(id))"),
    ("faqs", "sort", "event.name,event.state,event.identifier,event.timezone"),
]


@pytest.mark.parametrize(("kind", "parameter", "value"), TOO_DEAR)
async def test_filters_and_sorts_that_cost_too_much_are_400(
    api: Client, kind: str, parameter: str, value: str
) -> None:
    answer = await api.client.get(f"/v1/{kind}", params={parameter: value})
    await api.check(answer)
    detail = the_error(answer, 400, parameter=parameter)
    assert "may cost 500 points" in detail


FITS = [
    ("faq-types", "or(has(faqs)" + ",has(faqs)" * 5 + ")"),
    ("faq-types", "has(faqs,has(faq-type,has(faqs,equals(question,'a'))))"),
    ("events", "or(contains(name,'a')" + ",contains(name,'a')" * 15 + ")"),
    ("events", "or(contains(description,'a'),contains(code-of-conduct,'a'))"),
    ("events", "or(isNull(name)" + ",isNull(name)" * 98 + ")"),
]


@pytest.mark.parametrize(("kind", "function"), FITS)
async def test_filters_up_to_the_budget_are_answered(
    api: Client, kind: str, function: str
) -> None:
    answer = await api.client.get(f"/v1/{kind}", params={"filter": function})
    await api.check(answer)
    assert answer.status_code == 200, answer.text


async def test_all_filters_and_the_count_share_one_budget(api: Client) -> None:
    three = "or(has(faqs),has(faqs),has(faqs))"
    paths = {"filter[faqs]": "1", "filter[event]": "1", "filter[event.name]": "x"}
    answer = await api.client.get("/v1/faq-types", params={"filter": three, **paths})
    assert answer.status_code == 200
    answer = await api.client.get(
        "/v1/faq-types", params={"filter": three, **paths, "filter[event.state]": "draft"}
    )
    the_error(answer, 400, parameter="filter[event.state]")
    counted = {"filter": "or(has(faqs),has(faqs),has(faqs),has(faqs))", "page[count]": "true"}
    answer = await api.client.get("/v1/faq-types", params=counted)
    the_error(answer, 400, parameter="page[count]")


@pytest.mark.parametrize(
    ("parameter", "part", "limit"),
    [("sort", "name", MAX_SORT_KEYS), ("fields[event]", "name", MAX_FIELDS)],
)
async def test_lists_in_parameters_have_a_limit(
    api: Client, parameter: str, part: str, limit: int
) -> None:
    listed = [part] * limit
    answer = await api.client.get("/v1/events", params={parameter: ",".join(listed)})
    assert answer.status_code == 200, answer.text
    answer = await api.client.get("/v1/events", params={parameter: ",".join([*listed, part])})
    assert f"At most {limit}" in the_error(answer, 400, parameter=parameter)


@pytest.mark.parametrize("function", ["contains", "startsWith", "endsWith"])
async def test_a_text_to_look_for_has_a_limit(api: Client, function: str) -> None:
    for length, status in ((MAX_LIKE, 200), (MAX_LIKE + 1, 400)):
        params = {"filter": f"{function}(name,'{'a' * length}')"}
        answer = await api.client.get("/v1/events", params=params)
        assert answer.status_code == status, answer.text


@pytest.mark.parametrize(("part", "limit"), [("<br>", MAX_TAGS), ("&amp; ", MAX_AMPERSANDS)])
async def test_html_has_a_limit_of_tags_and_references(
    api: Client, user: Account, part: str, limit: int
) -> None:
    await api.event(user, description=part * limit)
    answer = await api.create("event", {"name": "x", "description": part * (limit + 1)}, by=user)
    the_error(answer, 422, pointer="/data/attributes/description")


async def test_operations_of_too_many_values_are_refused_by_their_service(
    api: Client, user: Account
) -> None:
    media_type = f'{MEDIA_TYPE}; ext="https://jsonapi.org/ext/atomic"'
    sent = {"Content-Type": media_type, "Accept": media_type}
    body = b'{"atomic:operations":[%b{}]}' % (b"{}," * 300_000)
    authorization = f"Bearer {user.token}"
    answer = await post(api, "/v1/operations", body, Authorization=authorization, **sent)
    assert str(MAX_VALUES) in the_error(answer, 400, pointer="")
