//! What a configuration file may hold. Later features add sections here.

use std::collections::BTreeMap;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::guard::Guard;
use super::record::Section;
use crate::forward::ForwardTemplate;
use crate::operation::Operation;
use crate::target::{ClusterName, ContainerName, TargetSpec};

/// The configuration of bowline: `~/.config/bowline/config.toml`, and `.bowline.toml` in a project.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "bowline configuration")]
pub(super) struct Document {
    /// The current cluster.
    #[schemars(with = "Option<String>")]
    pub(super) cluster: Option<Spanned<ClusterName>>,
    /// The target of verbs that need one and are given none.
    #[schemars(with = "Option<String>")]
    pub(super) target: Option<Spanned<TargetSpec>>,
    /// The container, if the target names none.
    #[schemars(with = "Option<String>")]
    pub(super) container: Option<Spanned<ContainerName>>,
    /// The shell of a login, in place of the first of bash, ash and sh.
    #[schemars(with = "Option<String>")]
    pub(super) shell: Option<Spanned<String>>,
    /// The form of listings.
    #[schemars(with = "Option<OutputForm>")]
    pub(super) output: Option<Spanned<OutputForm>>,
    /// How exec carries output, where it is free to choose.
    #[schemars(with = "Option<EngineName>")]
    pub(super) engine: Option<Spanned<EngineName>>,
    /// The AWS region.
    #[schemars(with = "Option<String>")]
    pub(super) region: Option<Spanned<String>>,
    /// The profile of the AWS configuration files. Not in a project's file.
    #[schemars(with = "Option<String>")]
    pub(super) profile: Option<Spanned<String>>,
    /// One endpoint for every AWS service. Not in a project's file.
    #[schemars(with = "Option<String>")]
    pub(super) endpoint_url: Option<Spanned<String>>,
    /// The host of data channels, in place of the one AWS names. Not in a project's file.
    #[schemars(with = "Option<String>")]
    pub(super) stream_host: Option<Spanned<String>>,
    /// Words that stand for targets.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, String>")]
    pub(super) alias: BTreeMap<String, Spanned<TargetSpec>>,
    /// Forwards that go up and down together, by name: `[forward.dev]`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, ForwardSet>")]
    pub(super) forward: BTreeMap<String, Spanned<ForwardSet>>,
    /// Places in which to be careful. A project's file can add to the user's, and take nothing away.
    #[serde(default)]
    #[schemars(with = "Vec<Guard>")]
    pub(super) guard: Vec<Spanned<Guard>>,
    /// Accounts by names of your own, for `--accounts`: `prod-eu = "111122223333"`.
    #[serde(default)]
    pub(super) account: BTreeMap<String, String>,
    /// Groups for `--accounts @name` and `--profiles @name`: names, ids and patterns (`["prod-*", "111122223333"]`).
    #[serde(default)]
    pub(super) group: BTreeMap<String, Vec<String>>,
    /// Named operations, for `bowline op`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<String, Operation>")]
    pub(super) op: BTreeMap<String, Spanned<Operation>>,
    /// Whether and how sessions are recorded.
    #[schemars(with = "Option<Section>")]
    pub(super) record: Option<Spanned<Section>>,
}

/// Forwards that go up and down together.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ForwardSet {
    /// The target they lead through.
    #[schemars(with = "String")]
    pub target: TargetSpec,
    /// What to forward, as on the command line; values in braces are looked up: `5432:{ssm:/prod/db/host}:5432`.
    #[schemars(with = "Vec<String>")]
    pub ports: Vec<ForwardTemplate>,
}

/// The forms of a listing.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the command's help describes them")]
pub enum OutputForm {
    Table,
    Wide,
    Json,
    Ndjson,
    Name,
}

/// The engines of exec that can be a default.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the command's help describes them")]
pub enum EngineName {
    Framed,
    Plain,
    Tty,
}

impl Document {
    /// What is in the file and may not be in a project's: the key's name, its place, and why.
    pub(super) fn forbidden(&self) -> Option<(&'static str, std::ops::Range<usize>, &'static str)> {
        let keys = [
            (
                "profile",
                &self.profile,
                "whose credentials are used is yours to decide",
            ),
            (
                "endpoint_url",
                &self.endpoint_url,
                "requests signed with your credentials would go there",
            ),
            (
                "stream_host",
                &self.stream_host,
                "tokens of your sessions would go there",
            ),
        ];
        keys.into_iter()
            .find_map(|(name, key, why)| Some((name, key.as_ref()?.span(), why)))
    }
}

/// The JSON schema of a configuration file, for editors.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Document).to_value()
}

/// Makes a name of the configuration one that can also be written in an environment variable.
macro_rules! words {
    ($type:ident, $what:literal, $($word:literal => $variant:ident),+) => {
        impl FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!(concat!("{:?} is no ", $what, "; it is one of {}"), text, [$($word),+].join(", "))),
                }
            }
        }

        impl $type {
            /// The word of the configuration.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

words!(OutputForm, "form of output", "table" => Table, "wide" => Wide, "json" => Json, "ndjson" => Ndjson, "name" => Name);
words!(EngineName, "engine", "framed" => Framed, "plain" => Plain, "tty" => Tty);
