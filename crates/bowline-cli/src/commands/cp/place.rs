//! One side of a copy: a path here, a path in a container, or a stream.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;

use bowline::target::TargetSpec;

/// One side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A path here.
    Local(PathBuf),
    /// A path in a container; the only one there is to mean if none is named.
    Remote {
        /// Which.
        target: Option<TargetSpec>,
        /// Absolute, or from the working directory and beginning with a dot.
        path: OsString,
    },
    /// stdin or stdout.
    Stream,
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a path is empty".to_owned());
        }
        if text == "-" {
            return Ok(Self::Stream);
        }
        let local = || Ok(Self::Local(text.into()));
        // No target begins like this, and a file may be called anything.
        if text.starts_with('/') || text.starts_with("./") || text.starts_with("../") {
            return local();
        }
        // No target has a colon before a slash or a dot, not even an ARN.
        let colons = [":/", ":./", ":../"]
            .into_iter()
            .filter_map(|colon| text.find(colon));
        let colon = colons
            .min()
            .or_else(|| text.ends_with(":.").then(|| text.len() - 2));
        let Some(colon) = colon else {
            return local();
        };
        let target = match &text[..colon] {
            "" => None,
            target => Some(
                target
                    .parse::<TargetSpec>()
                    .map_err(|error| error.to_string())?,
            ),
        };
        Ok(Self::Remote {
            target,
            path: text[colon + 1..].into(),
        })
    }
}

impl Place {
    /// What was probably meant by `web:file`, if there is no such file here.
    pub(crate) fn forgotten_slash(&self) -> Option<String> {
        let Self::Local(path) = self else {
            return None;
        };
        let text = path.to_str()?;
        let (target, rest) = text.rsplit_once(':')?;
        if path.exists() || target.parse::<TargetSpec>().is_err() {
            return None;
        }
        Some(format!(
            "a path in a container begins with a slash or a dot: {target}:./{rest}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(target: &str, path: &str) -> Result<Place, String> {
        Ok(Place::Remote {
            target: (!target.is_empty()).then(|| target.parse().unwrap()),
            path: path.into(),
        })
    }

    #[test]
    fn a_colon_before_a_path_makes_it_remote() {
        let arn = "arn:aws:ecs:eu-west-1:123456789012:task/prod/0123456789abcdef0123456789abcdef";
        for (text, place) in [
            ("web:/tmp/x", remote("web", "/tmp/x")),
            ("prod/web/app:/a:/b", remote("prod/web/app", "/a:/b")),
            ("service:web:./x", remote("service:web", "./x")),
            ("web:../x", remote("web", "../x")),
            ("web:.", remote("web", ".")),
            (":/tmp", remote("", "/tmp")),
            (&format!("{arn}:/x"), remote(arn, "/x")),
            ("-", Ok(Place::Stream)),
            ("./web:/x", Ok(Place::Local("./web:/x".into()))),
            ("/tmp/web:/x", Ok(Place::Local("/tmp/web:/x".into()))),
            ("web:x", Ok(Place::Local("web:x".into()))),
            ("file", Ok(Place::Local("file".into()))),
        ] {
            assert_eq!(text.parse::<Place>(), place, "{text}");
        }
        assert!("a b:/x".parse::<Place>().is_err());
        assert!("".parse::<Place>().is_err());
    }

    #[test]
    fn a_forgotten_slash_is_shown() {
        let place: Place = "web:app.log".parse().unwrap();
        assert_eq!(
            place.forgotten_slash().as_deref(),
            Some("a path in a container begins with a slash or a dot: web:./app.log")
        );
    }
}
