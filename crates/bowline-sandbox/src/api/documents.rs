//! AWS Systems Manager: documents of the type Automation.

use serde::Deserialize;
use serde_json::{Value, json};

use super::pages::{PageRequest, page};
use crate::api::{ApiError, Call};
use crate::automation::documents::{Documents, Draft, History, Version, no_version, unknown};
use crate::state::seconds;

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct Input {
    name: String,
    content: String,
    document_type: Option<String>,
    document_format: Option<String>,
    document_version: Option<String>,
    version_name: Option<String>,
    attachments: Vec<Value>,
    filters: Vec<Filter>,
    document_filter_list: Vec<OldFilter>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(rename_all = "PascalCase", default)]
struct Filter {
    key: String,
    values: Vec<String>,
}

#[derive(Deserialize, Default, Debug)]
#[serde(default)]
struct OldFilter {
    key: String,
    value: String,
}

/// Runs an operation on documents.
pub(super) fn call(call: &Call<'_>) -> Result<Value, ApiError> {
    let input: Input = call.input()?;
    let answer = answer(call, input, &mut call.shared.automation.documents())?;
    let reads = ["Get", "Describe", "List"];
    if !reads.iter().any(|verb| call.operation.starts_with(verb)) {
        // What is kept in a state file goes by the changes of the world.
        call.shared.change(|_| ());
    }
    Ok(answer)
}

fn answer(call: &Call<'_>, input: Input, documents: &mut Documents) -> Result<Value, ApiError> {
    match call.operation {
        "CreateDocument" => create(call, input, documents),
        "UpdateDocument" => update(call, input, documents),
        "UpdateDocumentDefaultVersion" => {
            let version = input.document_version.unwrap_or_default();
            documents.set_default(&input.name, &version)?;
            Ok(json!({ "Description": { "Name": input.name, "DefaultVersion": version } }))
        }
        "GetDocument" => get(&input, documents),
        "DescribeDocument" => {
            let (history, version) = found(&input, documents)?;
            let described = describe(call, &input.name, history, version, "Active");
            Ok(json!({ "Document": described }))
        }
        "ListDocuments" => list(call, &input, documents),
        "ListDocumentVersions" => versions(&input, documents),
        _ => {
            documents.delete(&input.name, input.document_version.as_deref())?;
            Ok(json!({}))
        }
    }
}

fn create(call: &Call<'_>, input: Input, documents: &mut Documents) -> Result<Value, ApiError> {
    let kind = input.document_type.as_deref().unwrap_or("Command");
    if kind != "Automation" {
        return Err(validation(&format!(
            "the sandbox has documents of the type Automation only, and this is {kind}"
        )));
    }
    if !input.attachments.is_empty() {
        return Err(validation("the sandbox does not keep attachments"));
    }
    let draft = Draft {
        content: input.content,
        format: input.document_format,
        version_name: input.version_name,
        now: call.shared.time(),
    };
    documents.create(&input.name, draft)?;
    described(call, &input.name, documents, "Creating")
}

fn update(call: &Call<'_>, input: Input, documents: &mut Documents) -> Result<Value, ApiError> {
    let draft = Draft {
        content: input.content,
        format: input.document_format,
        version_name: input.version_name,
        now: call.shared.time(),
    };
    documents.update(&input.name, input.document_version.as_deref(), draft)?;
    described(call, &input.name, documents, "Updating")
}

/// The newest version, as it is told when it is made.
fn described(
    call: &Call<'_>,
    name: &str,
    documents: &Documents,
    status: &str,
) -> Result<Value, ApiError> {
    let history = documents.history(name).ok_or_else(|| unknown(name))?;
    let version = history.version(Some("$LATEST")).ok_or_else(no_version)?;
    Ok(json!({ "DocumentDescription": describe(call, name, history, version, status) }))
}

fn found<'d>(
    input: &Input,
    documents: &'d Documents,
) -> Result<(&'d History, &'d Version), ApiError> {
    let history = documents
        .history(&input.name)
        .ok_or_else(|| unknown(&input.name))?;
    let version = match &input.version_name {
        Some(name) => history.named(name),
        None => history.version(input.document_version.as_deref()),
    };
    Ok((history, version.ok_or_else(no_version)?))
}

fn get(input: &Input, documents: &Documents) -> Result<Value, ApiError> {
    let (_, version) = found(input, documents)?;
    let wanted = input.document_format.as_deref().unwrap_or(version.format);
    let content = match (version.format, wanted) {
        (has, wants) if has == wants => version.content.clone(),
        // JSON is YAML.
        ("JSON", "YAML") => version.content.clone(),
        ("YAML", "JSON") => bowline_runbook::read(&version.content)
            .map(|node| node.value().to_string())
            .unwrap_or_default(),
        _ => return Err(validation(&format!("Invalid document format {wanted}"))),
    };
    Ok(json!({
        "Name": input.name,
        "CreatedDate": seconds(version.created),
        "DocumentVersion": version.number.to_string(),
        "VersionName": version.name,
        "Status": "Active",
        "Content": content,
        "DocumentType": "Automation",
        "DocumentFormat": wanted,
    }))
}

fn list(call: &Call<'_>, input: &Input, documents: &Documents) -> Result<Value, ApiError> {
    let mut wanted: Vec<(&str, Vec<&str>)> = input
        .filters
        .iter()
        .map(|it| {
            let values = it.values.iter().map(String::as_str).collect();
            (it.key.as_str(), values)
        })
        .collect();
    let old = input.document_filter_list.iter();
    wanted.extend(old.map(|it| (it.key.as_str(), vec![it.value.as_str()])));
    for (key, _) in &wanted {
        let is_known = [
            "Name",
            "Owner",
            "DocumentType",
            "PlatformTypes",
            "SearchKeyword",
        ]
        .iter()
        .any(|it| it.eq_ignore_ascii_case(key))
            || key.starts_with("tag:");
        if !is_known {
            return Err(ApiError::new(
                "InvalidFilterKey",
                format!("The filter {key} is not valid."),
            ));
        }
    }
    let passes = |name: &str| {
        wanted.iter().all(|(key, values)| {
            let any = |passes: &dyn Fn(&str) -> bool| values.iter().any(|it| passes(it));
            match key.to_ascii_lowercase().as_str() {
                "name" => any(&|it| name.starts_with(it)),
                "owner" => any(&|it| ["Self", "Private", "All"].contains(&it)),
                "documenttype" => any(&|it| it == "Automation"),
                "searchkeyword" => any(&|it| name.contains(it)),
                "platformtypes" => true,
                _ => false,
            }
        })
    };
    let names = documents.all().map(|it| it.0).filter(|name| passes(name));
    let request = PageRequest {
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
        default: 10,
        limit: 50,
        filters: &format!("ListDocuments {wanted:?}"),
    };
    let (names, next) = page(names.map(str::to_owned).collect(), &request)
        .map_err(|error| validation(&error.message))?;
    let shown: Vec<Value> = names
        .iter()
        .filter_map(|name| {
            let history = documents.history(name)?;
            let version = history.version(None)?;
            let mut shown = describe(call, name, history, version, "Active");
            let members = shown.as_object_mut()?;
            for detail in [
                "Hash",
                "HashType",
                "Parameters",
                "Description",
                "Status",
                "LatestVersion",
                "DefaultVersion",
            ] {
                members.remove(detail);
            }
            Some(shown)
        })
        .collect();
    Ok(json!({ "DocumentIdentifiers": shown, "NextToken": next }))
}

fn versions(input: &Input, documents: &Documents) -> Result<Value, ApiError> {
    let history = documents
        .history(&input.name)
        .ok_or_else(|| unknown(&input.name))?;
    let shown: Vec<Value> = history
        .versions()
        .map(|version| {
            json!({
                "Name": input.name,
                "DocumentVersion": version.number.to_string(),
                "VersionName": version.name,
                "CreatedDate": seconds(version.created),
                "IsDefaultVersion": version.number == history.default,
                "DocumentFormat": version.format,
                "Status": "Active",
            })
        })
        .collect();
    Ok(json!({ "DocumentVersions": shown }))
}

fn describe(
    call: &Call<'_>,
    name: &str,
    history: &History,
    version: &Version,
    status: &str,
) -> Value {
    let parameters: Vec<Value> = version
        .document
        .parameters
        .iter()
        .map(|parameter| {
            let default = parameter.default.as_ref().map(|node| match node.value() {
                Value::String(text) => text,
                other => other.to_string(),
            });
            json!({
                "Name": parameter.name.name,
                "Type": parameter.kind.name(),
                "Description": parameter.description,
                "DefaultValue": default,
            })
        })
        .collect();
    json!({
        "Name": name,
        "Hash": version.hash(),
        "HashType": "Sha256",
        "Owner": call.shared.account.id,
        "CreatedDate": seconds(match version.number {
            1 => history.created,
            _ => version.created,
        }),
        "Status": status,
        "DocumentVersion": version.number.to_string(),
        "VersionName": version.name,
        "Description": version.document.description,
        "Parameters": parameters,
        "PlatformTypes": ["Windows", "Linux", "MacOS"],
        "DocumentType": "Automation",
        "SchemaVersion": "0.3",
        "LatestVersion": history.latest().to_string(),
        "DefaultVersion": history.default.to_string(),
        "DocumentFormat": version.format,
        "Tags": [],
    })
}

fn validation(message: &str) -> ApiError {
    ApiError::new("ValidationException", message)
}
