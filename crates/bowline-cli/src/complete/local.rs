//! What completes without asking anybody: profiles of the AWS configuration files, and regions.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;

use super::Candidate;

/// The profiles of the configuration and credentials files.
pub(super) fn profiles() -> Vec<Candidate> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let file = |variable: &str, usual: &str| {
        let given = env::var_os(variable).filter(|path| !path.is_empty());
        let path = given
            .map(PathBuf::from)
            .or_else(|| Some(home.as_ref()?.join(usual)));
        path.and_then(|path| fs::read_to_string(path).ok())
            .unwrap_or_default()
    };
    let config = file("AWS_CONFIG_FILE", ".aws/config");
    let credentials = file("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials");
    let names: BTreeSet<String> = in_config(&config).chain(sections(&credentials)).collect();
    names.into_iter().map(Candidate::new).collect()
}

/// The regions of AWS that an account can have, with where they are.
pub(super) fn regions() -> Vec<Candidate> {
    let regions = REGIONS.iter();
    regions
        .map(|(name, place)| Candidate::with_help(*name, *place))
        .collect()
}

/// `[default]` and `[profile NAME]`; other sections (`sso-session`, `services`) are no profiles.
fn in_config(text: &str) -> impl Iterator<Item = String> {
    sections(text).filter_map(|section| match section.strip_prefix("profile") {
        Some(name) if name.starts_with([' ', '\t']) => {
            Some(name.trim().trim_matches(['"', '\'']).to_owned())
        }
        _ => (section == "default").then_some(section),
    })
}

fn sections(text: &str) -> impl Iterator<Item = String> {
    let headers = text.lines().filter_map(|line| {
        let inner = line.trim().strip_prefix('[')?.split(']').next()?;
        Some(inner.trim().to_owned())
    });
    headers.filter(|name| !name.is_empty())
}

/// As AWS lists them, commercial ones first.
const REGIONS: &[(&str, &str)] = &[
    ("us-east-1", "N. Virginia"),
    ("us-east-2", "Ohio"),
    ("us-west-1", "N. California"),
    ("us-west-2", "Oregon"),
    ("af-south-1", "Cape Town"),
    ("ap-east-1", "Hong Kong"),
    ("ap-east-2", "Taipei"),
    ("ap-northeast-1", "Tokyo"),
    ("ap-northeast-2", "Seoul"),
    ("ap-northeast-3", "Osaka"),
    ("ap-south-1", "Mumbai"),
    ("ap-south-2", "Hyderabad"),
    ("ap-southeast-1", "Singapore"),
    ("ap-southeast-2", "Sydney"),
    ("ap-southeast-3", "Jakarta"),
    ("ap-southeast-4", "Melbourne"),
    ("ap-southeast-5", "Malaysia"),
    ("ap-southeast-6", "New Zealand"),
    ("ap-southeast-7", "Thailand"),
    ("ca-central-1", "Canada"),
    ("ca-west-1", "Calgary"),
    ("eu-central-1", "Frankfurt"),
    ("eu-central-2", "Zurich"),
    ("eu-north-1", "Stockholm"),
    ("eu-south-1", "Milan"),
    ("eu-south-2", "Spain"),
    ("eu-west-1", "Ireland"),
    ("eu-west-2", "London"),
    ("eu-west-3", "Paris"),
    ("il-central-1", "Tel Aviv"),
    ("me-central-1", "UAE"),
    ("me-south-1", "Bahrain"),
    ("mx-central-1", "Mexico"),
    ("sa-east-1", "Sao Paulo"),
    ("cn-north-1", "Beijing"),
    ("cn-northwest-1", "Ningxia"),
    ("us-gov-east-1", "GovCloud East"),
    ("us-gov-west-1", "GovCloud West"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn profiles_are_the_sections_that_are_profiles() {
        let config = "[default]\nregion = eu-west-1\n[profile prod]\n[ profile  dev ] # mine\n[profile \"a b\"]\n\
                      [sso-session corp]\n[services local]\n[profiled]\n[]\nx = [y]\n";
        let names: Vec<String> = in_config(config).collect();
        assert_eq!(names, ["default", "prod", "dev", "a b"]);
        assert_eq!(sections("[one]\n[two]").collect::<Vec<_>>(), ["one", "two"]);
    }
}
