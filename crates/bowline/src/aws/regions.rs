//! The names of AWS's regions, for guessing what a misspelled one was meant to be. Never for refusing one.

use crate::target::suggest;

/// The region nearest to a name that is none of them.
pub fn near(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    if REGIONS.contains(&name.as_str()) {
        return Some(name);
    }
    suggest::near(&name, REGIONS).into_iter().next()
}

/// Whether this is a region that was known when this was written.
pub fn is_known(name: &str) -> bool {
    REGIONS.contains(&name)
}

/// The partition of a region, as ARNs write it.
pub fn partition(region: &str) -> &'static str {
    match region {
        _ if region.starts_with("cn-") => "aws-cn",
        _ if region.starts_with("us-gov-") => "aws-us-gov",
        _ if region.starts_with("eusc-") => "aws-eusc",
        _ if region.starts_with("us-isob-") => "aws-iso-b",
        _ if region.starts_with("us-isof-") => "aws-iso-f",
        _ if region.starts_with("eu-isoe-") => "aws-iso-e",
        _ if region.starts_with("us-iso-") => "aws-iso",
        _ => "aws",
    }
}

/// The regions there are, all partitions that can be reached from the internet.
pub const REGIONS: [&str; 39] = [
    "af-south-1",
    "ap-east-1",
    "ap-east-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "ap-south-1",
    "ap-south-2",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-southeast-4",
    "ap-southeast-5",
    "ap-southeast-6",
    "ap-southeast-7",
    "ca-central-1",
    "ca-west-1",
    "cn-north-1",
    "cn-northwest-1",
    "eu-central-1",
    "eu-central-2",
    "eu-north-1",
    "eu-south-1",
    "eu-south-2",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eusc-de-east-1",
    "il-central-1",
    "me-central-1",
    "me-south-1",
    "mx-central-1",
    "sa-east-1",
    "us-east-1",
    "us-east-2",
    "us-gov-east-1",
    "us-gov-west-1",
    "us-west-1",
    "us-west-2",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelled_regions_are_guessed() {
        for (name, meant) in [
            ("eu-wset-1", Some("eu-west-1")),
            ("EU-WEST-1", Some("eu-west-1")),
            ("us-esat-2", Some("us-east-2")),
            ("moon", None),
        ] {
            assert_eq!(near(name).as_deref(), meant, "{name}");
        }
        assert!(REGIONS.is_sorted());
    }
}
