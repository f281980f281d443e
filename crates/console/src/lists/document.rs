//! What the OpenAPI document says of lists: made from the same data that answers them.

use outbox::listing::{Column, Kind, LISTS, List};
use utoipa::openapi::path::{HttpMethod, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, ParameterStyle};
use utoipa::openapi::path::{PathItem, Paths, PathsBuilder};
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, Schema, SchemaFormat, SchemaType};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Required, ResponseBuilder, Type};
use utoipa::{IntoResponses, PartialSchema, ToSchema};

use super::ask::{LIMIT, LIMIT_MAX, VALUES_MAX, sorts};
use crate::refusals::Listing;

/// Schemas of a list's rows and pages.
pub(super) fn schemas(list: &List) -> Vec<(String, RefOr<Schema>)> {
    vec![(list.item.to_owned(), row(list).into()), (page_name(list), page(list).into())]
}

fn page_name(list: &List) -> String {
    format!("{}Page", list.item)
}

fn row(list: &List) -> Schema {
    let mut object = ObjectBuilder::new().description(Some(list.doc));
    for column in list.columns {
        object = object.property(column.name, of_column(column)).required(column.name);
    }
    object.into()
}

fn of_column(column: &Column) -> RefOr<Schema> {
    let nulled = |kind: Type| {
        if column.nullable { SchemaType::Array(vec![kind, Type::Null]) } else { SchemaType::Type(kind) }
    };
    let object = ObjectBuilder::new().description(Some(column.doc));
    let schema: Schema = match column.kind {
        Kind::Texts => {
            let texts = ArrayBuilder::new().items(ObjectBuilder::new().schema_type(Type::String));
            return Schema::Array(texts.description(Some(column.doc)).build()).into();
        }
        // any JSON value
        Kind::Json => object.schema_type(SchemaType::AnyValue).into(),
        Kind::Integer => object.schema_type(nulled(Type::Integer)).into(),
        Kind::Seconds => object.schema_type(nulled(Type::Number)).into(),
        Kind::Flag => object.schema_type(nulled(Type::Boolean)).into(),
        Kind::Word(words) => object.schema_type(nulled(Type::String)).enum_values(Some(words.to_vec())).into(),
        Kind::Quantity => object.schema_type(nulled(Type::String)).pattern(Some(r"^-?[0-9]+(\.[0-9]+)?$")).into(),
        Kind::Text => object.schema_type(nulled(Type::String)).into(),
        Kind::Time => object.schema_type(nulled(Type::String)).format(Some(known(KnownFormat::DateTime))).into(),
        Kind::Date => object.schema_type(nulled(Type::String)).format(Some(known(KnownFormat::Date))).into(),
        Kind::Id => object.schema_type(nulled(Type::String)).format(Some(known(KnownFormat::Uuid))).into(),
    };
    schema.into()
}

const fn known(format: KnownFormat) -> SchemaFormat {
    SchemaFormat::KnownFormat(format)
}

fn page(list: &List) -> Schema {
    let items = ArrayBuilder::new().items(Ref::from_schema_name(list.item)).max_items(Some(LIMIT_MAX));
    let next = "Give it as `after` to get the next page; null: this is the last";
    let text = SchemaType::Array(vec![Type::String, Type::Null]);
    let count = "How many there are in all, with `count`; where that is not exact, there are more";
    ObjectBuilder::new()
        .property("items", items)
        .required("items")
        .property("next", ObjectBuilder::new().schema_type(text).description(Some(next)))
        .required("next")
        .property("count", ObjectBuilder::new().schema_type(Type::Integer).description(Some(count)))
        .property(
            "count_is_exact",
            ObjectBuilder::new().schema_type(Type::Boolean).description(Some("Whether `count` is exact")),
        )
        .into()
}

/// The operation of a list.
pub(super) fn paths(list: &List) -> Paths {
    let json = ContentBuilder::new().schema(Some(Ref::from_schema_name(page_name(list)))).build();
    let answer = ResponseBuilder::new().description("A page").content("application/json", json);
    operation(list, list.name.to_owned(), list.label.to_owned(), answer, parameters(list))
}

/// The operation that brings everything. It stands apart from pages, so that each has one shape of answers.
pub(super) fn export_paths(list: &List) -> Paths {
    let text = || ContentBuilder::new().schema(Some(ObjectBuilder::new().schema_type(Type::String))).build();
    let answer = ResponseBuilder::new()
        .description("Everything that matches, as the database reads it; a connection that breaks off is not the end")
        .content("text/csv", text())
        .content("application/x-ndjson", text());
    let mut asked = filters(list);
    let words: Schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(["csv", "ndjson"])).into();
    asked.push(query("format", "csv unless said. The header Accept says the same.", words, false));
    operation(list, format!("exports/{}", list.name), list.label.replacen("list_", "export_", 1), answer, asked)
}

fn operation(list: &List, path: String, id: String, answer: ResponseBuilder, asked: Vec<Parameter>) -> Paths {
    let mut operation = OperationBuilder::new()
        .tag("lists")
        .operation_id(Some(id))
        .summary(Some(list.doc))
        .description(Some(limited(list)))
        .security(SecurityRequirement::new("token", ["read"]))
        .response("200", answer.build());
    for (status, response) in Listing::responses() {
        operation = operation.response(status, response);
    }
    for parameter in asked {
        operation = operation.parameter(parameter);
    }
    PathsBuilder::new().path(format!("/v1/{path}"), PathItem::new(HttpMethod::Get, operation)).build()
}

const fn limited(list: &List) -> &'static str {
    if list.org.is_some() {
        "A token for one org sees its rows only."
    } else {
        "Not for a token that is limited to one org: its rows have none."
    }
}

/// Filters and order.
fn filters(list: &List) -> Vec<Parameter> {
    let mut all = Vec::new();
    for column in list.columns {
        if let Some(name) = column.equal {
            let values =
                ArrayBuilder::new().items(RefOr::T(value(column))).min_items(Some(1)).max_items(Some(VALUES_MAX));
            let doc = format!("{} Given several times: one of them.", column.doc);
            all.push(query(name, &doc, values.into(), true));
        }
        if column.range {
            let doc = |word| format!("{} {word} this.", column.doc);
            all.push(query(&format!("{}_from", column.name), &doc("Not before"), value(column), false));
            all.push(query(&format!("{}_until", column.name), &doc("Before"), value(column), false));
        }
    }
    let sorts = sorts(list).into_iter().flat_map(|name| [name.to_owned(), format!("-{name}")]).collect();
    let doc = format!("The order, with - for descending; {} unless said. Nulls come last.", list.sort);
    all.push(query("sort", &doc, words(sorts), false));
    all
}

fn parameters(list: &List) -> Vec<Parameter> {
    let mut all = filters(list);
    let limit = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1_u64)).maximum(Some(LIMIT_MAX as u64));
    all.push(query("limit", &format!("Rows of a page; {LIMIT} unless said."), limit.into(), false));
    let after = ObjectBuilder::new().schema_type(Type::String).into();
    all.push(query("after", "Where the page before ended: its `next`. With the same sort.", after, false));
    let count = ["true", "false", "exact"].map(str::to_owned).to_vec();
    let doc = "true: how many there are, counted up to 10,000; exact: however many.";
    all.push(query("count", doc, words(count), false));
    all
}

fn words(words: Vec<String>) -> Schema {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
}

/// A value of a filter.
fn value(column: &Column) -> Schema {
    let text = ObjectBuilder::new().schema_type(Type::String);
    match column.kind {
        Kind::Integer => ObjectBuilder::new().schema_type(Type::Integer).format(Some(known(KnownFormat::Int64))).into(),
        Kind::Flag => ObjectBuilder::new().schema_type(Type::Boolean).into(),
        Kind::Word(words) => text.enum_values(Some(words.to_vec())).into(),
        Kind::Time => text.format(Some(known(KnownFormat::DateTime))).into(),
        Kind::Date => text.pattern(Some(r"^[0-9]{4}-[0-9]{2}(-[0-9]{2})?$")).into(),
        Kind::Id => text.format(Some(known(KnownFormat::Uuid))).into(),
        _ => text.into(),
    }
}

fn query(name: &str, doc: &str, schema: Schema, many: bool) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).required(Required::False);
    let parameter = parameter.description(Some(doc)).schema(Some(schema));
    if many { parameter.style(Some(ParameterStyle::Form)).explode(Some(true)).build() } else { parameter.build() }
}

/// A remittance with its attempts and decisions.
pub(super) struct RemittanceDocument;

impl PartialSchema for RemittanceDocument {
    fn schema() -> RefOr<Schema> {
        let of = |name: &str| LISTS.iter().find(|list| list.name == name).expect("a list").item;
        let many = |name| ArrayBuilder::new().items(Ref::from_schema_name(of(name)));
        let object = ObjectBuilder::new()
            .property("remittance", Ref::from_schema_name(of("remittances")))
            .property("attempts", many("attempts"))
            .property("decisions", many("decisions"));
        let object = ["remittance", "attempts", "decisions"].into_iter().fold(object, ObjectBuilder::required);
        Schema::from(object).into()
    }
}

impl ToSchema for RemittanceDocument {}
