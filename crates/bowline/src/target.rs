//! The target grammar: one word that says which service, task or family, in which cluster, which container.
//!
//! ```text
//! web                     a service, else a task id or its beginning, else a family, in the current cluster
//! prod/web                the same in cluster prod
//! prod/web/app            and its container app
//! prod/web/*              and every container of it
//! service:web  task:3f2a  family:job  tag:team=pay     one kind only; the slashed forms may follow the colon
//! arn:aws:ecs:…:task/prod/3f2a…             the ARN of a service, task, container, cluster or task definition
//! ```

mod arn;
mod error;
pub(crate) mod pattern;
mod pick;
pub(crate) mod resolve;
mod search;
pub(crate) mod several;
pub(crate) mod suggest;
mod tag;
mod wanted;

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

pub use self::arn::{ArnKind, EcsArn};
pub use self::error::TargetError;
pub use self::pattern::{TargetGlob, TargetPattern, glob};
pub use self::resolve::{ClusterRef, MatchingTasks, ResolvedTarget, TargetOptions, TaskRef};
pub(crate) use self::search::in_cluster;
pub(crate) use self::suggest::near;
pub use self::tag::TagFilter;

/// A target as the user wrote it. `Display` gives the text back, and parsing that text gives the same target.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TargetSpec {
    /// The cluster in front of the first slash.
    pub cluster: Option<ClusterName>,
    /// What to look for in the cluster.
    pub selector: Selector,
    /// What stands behind the last slash.
    pub container: Option<ContainerPart>,
}

/// Which containers of a task a target means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerPart {
    /// The one of this name.
    Named(ContainerName),
    /// All of them, written `*`.
    Every,
}

/// What to look for in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selector {
    /// A service, else a task id or its beginning, else a family.
    Any(AnyName),
    /// A service.
    Service(ServiceName),
    /// A task by its id or the beginning of it.
    Task(TaskId),
    /// The tasks of a task definition family.
    Family(FamilyName),
    /// The tasks that carry a tag.
    Tag(TagFilter),
    /// Exactly what an ARN names.
    Arn(EcsArn),
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParseTargetError {
    /// Nothing was given, or nothing between two slashes.
    #[error("{part} is empty")]
    Empty {
        /// Which part.
        part: &'static str,
    },
    /// A part holds what no name in ECS can hold.
    #[error("{part} {text:?} may hold only letters, digits, '-' and '_', at most 255")]
    BadName {
        /// Which part.
        part: &'static str,
        /// The part's text.
        text: String,
    },
    /// More than cluster, name and container.
    #[error("target {text:?} has too many parts; the longest form is cluster/name/container")]
    TooManyParts {
        /// The whole text.
        text: String,
    },
    /// The word before the colon is not known.
    #[error("unknown kind of target {kind:?}; the kinds are service:, task:, family: and tag:")]
    UnknownKind {
        /// The word.
        kind: String,
    },
    /// What follows `tag:` is not a key and a value.
    #[error("tag {text:?} {reason}")]
    BadTag {
        /// The part's text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It begins like an ARN and is not one that a target can be.
    #[error("ARN {text:?} {reason}")]
    BadArn {
        /// The whole text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $part:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = ParseTargetError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                check_name($part, text).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $type {
            type Error = ParseTargetError;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                text.parse()
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// A name that may be a service's, a task id's beginning or a family's.
    AnyName,
    "target name"
);
name!(
    /// A cluster's name.
    ClusterName,
    "cluster name"
);
name!(
    /// A service's name.
    ServiceName,
    "service name"
);
name!(
    /// A task's id, or its beginning.
    TaskId,
    "task id"
);
name!(
    /// A task definition family.
    FamilyName,
    "family name"
);
name!(
    /// A container's name.
    ContainerName,
    "container name"
);

impl TaskId {
    /// Whether this is a whole id: 32 hex digits, or a UUID as moto makes them.
    pub(crate) fn is_whole(&self) -> bool {
        looks_like_whole_task_id(&self.0)
    }
}

impl ContainerPart {
    /// The name, if it is one.
    pub fn name(&self) -> Option<&ContainerName> {
        match self {
            Self::Named(name) => Some(name),
            Self::Every => None,
        }
    }
}

impl FromStr for ContainerPart {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "*" => Ok(Self::Every),
            name => name.parse().map(Self::Named),
        }
    }
}

impl fmt::Display for ContainerPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => fmt::Display::fmt(name, f),
            Self::Every => f.write_str("*"),
        }
    }
}

impl TargetSpec {
    /// A target that is only a selector.
    pub fn of(selector: Selector) -> Self {
        Self {
            cluster: None,
            selector,
            container: None,
        }
    }
}

impl FromStr for TargetSpec {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() {
            return Err(ParseTargetError::Empty { part: "target" });
        }
        if text.starts_with("arn:") {
            return Ok(Self::of(Selector::Arn(text.parse()?)));
        }
        let (kind, path) = match text.split_once(':') {
            Some((kind, path)) => (Some(kind), path),
            None => (None, text),
        };
        let parts: Vec<&str> = path.split('/').collect();
        let (cluster, name, container) = match parts[..] {
            [name] => (None, name, None),
            [cluster, name] => (Some(cluster), name, None),
            [cluster, name, container] => (Some(cluster), name, Some(container)),
            _ => {
                return Err(ParseTargetError::TooManyParts {
                    text: text.to_owned(),
                });
            }
        };
        Ok(Self {
            cluster: cluster.map(str::parse).transpose()?,
            selector: selector(kind, name)?,
            container: container.map(str::parse).transpose()?,
        })
    }
}

impl TryFrom<String> for TargetSpec {
    type Error = ParseTargetError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl fmt::Display for TargetSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.selector.kind())?;
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}/")?;
        }
        self.selector.fmt_name(f)?;
        if let Some(container) = &self.container {
            write!(f, "/{container}")?;
        }
        Ok(())
    }
}

impl Selector {
    fn kind(&self) -> &'static str {
        match self {
            Self::Any(_) | Self::Arn(_) => "",
            Self::Service(_) => "service:",
            Self::Task(_) => "task:",
            Self::Family(_) => "family:",
            Self::Tag(_) => "tag:",
        }
    }

    fn fmt_name(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any(name) => fmt::Display::fmt(name, f),
            Self::Service(name) => fmt::Display::fmt(name, f),
            Self::Task(id) => fmt::Display::fmt(id, f),
            Self::Family(name) => fmt::Display::fmt(name, f),
            Self::Tag(tag) => fmt::Display::fmt(tag, f),
            Self::Arn(arn) => fmt::Display::fmt(arn, f),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())?;
        self.fmt_name(f)
    }
}

fn selector(kind: Option<&str>, name: &str) -> Result<Selector, ParseTargetError> {
    Ok(match kind {
        None => Selector::Any(name.parse()?),
        Some("service") => Selector::Service(name.parse()?),
        Some("task") => Selector::Task(name.parse()?),
        Some("family") => Selector::Family(name.parse()?),
        Some("tag") => Selector::Tag(name.parse()?),
        Some(kind) => {
            return Err(ParseTargetError::UnknownKind {
                kind: kind.to_owned(),
            });
        }
    })
}

fn check_name(part: &'static str, text: &str) -> Result<(), ParseTargetError> {
    if text.is_empty() {
        return Err(ParseTargetError::Empty { part });
    }
    let fits = text.len() <= 255
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    if fits {
        return Ok(());
    }
    Err(ParseTargetError::BadName {
        part,
        text: text.to_owned(),
    })
}

fn looks_like_whole_task_id(text: &str) -> bool {
    let digits = text.bytes().filter(|byte| *byte != b'-');
    let hyphens = text.len() - digits.clone().count();
    digits.clone().count() == 32
        && matches!(hyphens, 0 | 4)
        && digits.into_iter().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> TargetSpec {
        text.parse().unwrap()
    }

    #[test]
    fn every_form_is_read() {
        let cases = [
            ("web", None, "web", None),
            ("prod/web", Some("prod"), "web", None),
            ("prod/web/app", Some("prod"), "web", Some("app")),
            ("service:web", None, "service:web", None),
            ("task:prod/3f2a", Some("prod"), "task:3f2a", None),
            (
                "family:prod/job/main",
                Some("prod"),
                "family:job",
                Some("main"),
            ),
            ("prod/web/*", Some("prod"), "web", Some("*")),
            ("tag:team=pay", None, "tag:team=pay", None),
            (
                "tag:prod/aws:x=a b=c:d/*",
                Some("prod"),
                "tag:aws:x=a b=c:d",
                Some("*"),
            ),
        ];
        for (text, cluster, selector, container) in cases {
            let spec = parse(text);
            assert_eq!(
                spec.cluster.as_ref().map(ClusterName::as_str),
                cluster,
                "{text}"
            );
            assert_eq!(spec.selector.to_string(), selector, "{text}");
            assert_eq!(
                spec.container.as_ref().map(ToString::to_string).as_deref(),
                container,
                "{text}"
            );
            assert_eq!(spec.to_string(), text);
        }
        let arn = "arn:aws:ecs:eu-west-1:123456789012:task/prod/0123456789abcdef0123456789abcdef";
        assert!(matches!(parse(arn).selector, Selector::Arn(_)));
        assert_eq!(parse(arn).to_string(), arn);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let cases = [
            ("", "target is empty"),
            ("prod/", "target name is empty"),
            ("/web", "cluster name is empty"),
            ("a/b/", "container name is empty"),
            ("service:", "service name is empty"),
            (
                "a/b/c/d",
                "target \"a/b/c/d\" has too many parts; the longest form is cluster/name/container",
            ),
            (
                "tags:x",
                "unknown kind of target \"tags\"; the kinds are service:, task:, family: and tag:",
            ),
            (
                "tag:x",
                "tag \"x\" has no value; a tag is written tag:KEY=VALUE",
            ),
            (
                "tag:=x",
                "tag \"=x\" has no key; a tag is written tag:KEY=VALUE",
            ),
            (
                "prod/*",
                "target name \"*\" may hold only letters, digits, '-' and '_', at most 255",
            ),
            (
                "arn:aws:ecs:eu-west-1:1:container-instance/prod/9f",
                "ARN \"arn:aws:ecs:eu-west-1:1:container-instance/prod/9f\" names a container instance, where unrelated tasks may run: name one of its tasks",
            ),
            (
                "web app",
                "target name \"web app\" may hold only letters, digits, '-' and '_', at most 255",
            ),
            (
                "arn:aws:s3:::bucket",
                "ARN \"arn:aws:s3:::bucket\" is not an ECS ARN",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(text.parse::<TargetSpec>().unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn whole_task_ids_are_known_by_shape() {
        assert!(looks_like_whole_task_id("0123456789abcdef0123456789abcdef"));
        assert!(looks_like_whole_task_id(
            "01234567-89ab-cdef-0123-456789abcdef"
        ));
        for id in [
            "",
            "web",
            "0123456789abcdef",
            "0123456789abcdefg123456789abcdef",
        ] {
            assert!(!looks_like_whole_task_id(id), "{id}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>()) {
            let _ = text.parse::<TargetSpec>();
        }

        #[test]
        fn what_parses_prints_back(text in "(arn:aws:ecs:r:1:(task|service|container|cluster|task-definition)[/]|service:|task:|family:|tag:)?[a-z0-9:/_*=-]{0,40}") {
            if let Ok(spec) = text.parse::<TargetSpec>() {
                prop_assert_eq!(spec.to_string(), text.clone());
                prop_assert_eq!(spec.to_string().parse::<TargetSpec>().unwrap(), spec);
            }
        }

        #[test]
        fn what_prints_parses_back(
            cluster in proptest::option::of("[A-Za-z0-9_-]{1,20}"),
            kind in 0..5_u8,
            name in "[A-Za-z0-9_-]{1,20}",
            container in proptest::option::of("[A-Za-z0-9_-]{1,20}|[*]"),
        ) {
            let cluster: Option<ClusterName> = cluster.map(|name| name.parse().unwrap());
            let selector = match kind {
                0 => Selector::Any(name.parse().unwrap()),
                1 => Selector::Service(name.parse().unwrap()),
                2 => Selector::Task(name.parse().unwrap()),
                3 => Selector::Family(name.parse().unwrap()),
                _ => Selector::Tag(format!("{name}={name}").parse().unwrap()),
            };
            // A container needs a cluster in front of it; alone it would read as cluster/name.
            let container = container.filter(|_| cluster.is_some()).map(|name| name.parse().unwrap());
            let spec = TargetSpec { cluster, selector, container };
            prop_assert_eq!(spec.to_string().parse::<TargetSpec>().unwrap(), spec);
        }
    }
}
