"""JSON Schemas of attributes, as clients may send them and as documents show them."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode
from pydantic_core import core_schema

from shared.jsonapi.openapi.components import Components, Schema, closed
from shared.jsonapi.resource import Attribute, Resource

TEMPLATE = "#/components/schemas/{model}"
LIMITS = ("minLength", "maxLength", "pattern")
HTML_TEXT = "HTML; it is cleaned before it is stored, so that a page may show it as it is."
PLAIN_TEXT = "Plain text: escape it where it is shown in HTML."


class _Generator(GenerateJsonSchema):
    """pydantic's generator of schemas, made exact where its schemas are vague."""

    def str_schema(self, schema: core_schema.StringSchema) -> dict[str, Any]:
        found = super().str_schema(schema)
        if schema.get("strip_whitespace") and schema.get("min_length"):
            # The length counts after blanks are stripped, so a text must have another character.
            found.setdefault("pattern", r"\S")
        return found

    def nullable_schema(self, schema: core_schema.NullableSchema) -> dict[str, Any]:
        inner = self.generate_inner(schema["schema"])
        if isinstance(inner.get("type"), str) and not {"enum", "const"} & inner.keys():
            return {**inner, "type": [inner["type"], "null"]}
        return super().nullable_schema(schema)

    def function_after_schema(
        self, schema: core_schema.AfterValidatorFunctionSchema
    ) -> dict[str, Any]:
        found = super().function_after_schema(schema)
        if self.mode == "serialization":
            # The function runs after the limits were checked, and may return a value beyond them.
            found = {name: value for name, value in found.items() if name not in LIMITS}
        return found


def attribute_schema(components: Components, attribute: Attribute, mode: JsonSchemaMode) -> Schema:
    """Return an attribute's schema, as it is sent (`validation`) or shown (`serialization`)."""
    schema = attribute.adapter.json_schema(
        mode=mode, ref_template=TEMPLATE, schema_generator=_Generator
    )
    for name, definition in schema.pop("$defs", {}).items():
        components.schema(name, definition)
    return described_text(schema)


def described_text(schema: Schema) -> Schema:
    """Return the schema, which for a text also tells whether it is HTML or plain."""
    types = schema.get("type")
    is_text = types == "string" or (isinstance(types, list) and "string" in types)
    if not is_text or schema.keys() & {"enum", "const", "format"}:
        return schema
    media_type = schema.get("contentMediaType", "text/plain")
    description = HTML_TEXT if media_type == "text/html" else PLAIN_TEXT
    return {**schema, "contentMediaType": media_type, "description": description}


def shown_attributes(components: Components, resource: Resource) -> Schema:
    """Return the attributes in documents. None is required, as a sparse fieldset may omit any."""
    shown = {
        components.wire(each.name): attribute_schema(components, each, "serialization")
        for each in resource.fields.values()
        if each.is_readable
    }
    name = components.name(resource, "Attributes")
    return components.schema(name, closed(shown, required=[]))


def sent_attributes(components: Components, resource: Resource, *, partial: bool) -> Schema:
    """Return the attributes in requests, where names that begin with @ are ignored (49)."""
    sent, required = {}, []
    for each in resource.fields.values():
        if not each.is_writable:
            continue
        wire = components.wire(each.name)
        sent[wire] = attribute_schema(components, each, "validation")
        if each.required and not partial:
            required.append(wire)
        elif not partial:
            # A default of None means that the attribute is null or absent: nothing to tell.
            default = resource.attributes.model_fields[each.name].default
            sent[wire] |= {} if default is None else {"default": default}
        if not each.is_readable:
            sent[wire]["writeOnly"] = True
    schema = closed(sent, required=required) | {"patternProperties": {"^@": {}}}
    part = "UpdateAttributes" if partial else "CreateAttributes"
    return components.schema(components.name(resource, part), schema)


def value_schema(components: Components, attribute: Attribute) -> Schema:
    """Return the schema of an attribute's value in a filter, which is never null."""
    schema = attribute_schema(components, attribute, "validation")
    if isinstance(schema.get("type"), list):
        schema["type"] = next(each for each in schema["type"] if each != "null")
    elif "anyOf" in schema:
        schema = next(each for each in schema["anyOf"] if each != {"type": "null"})
    return schema
