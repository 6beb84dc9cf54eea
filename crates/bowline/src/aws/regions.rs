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

/// Beginnings of regions' names, the partitions that they are in as ARNs write them, and the domains of those.
const PARTITIONS: [(&str, &str, &str); 8] = [
    ("cn-", "aws-cn", "amazonaws.com.cn"),
    ("us-gov-", "aws-us-gov", "amazonaws.com"),
    ("eusc-", "aws-eusc", "amazonaws.eu"),
    ("us-isob-", "aws-iso-b", "sc2s.sgov.gov"),
    ("us-isof-", "aws-iso-f", "csp.hci.ic.gov"),
    ("eu-isoe-", "aws-iso-e", "cloud.adc-e.uk"),
    ("us-iso-", "aws-iso", "c2s.ic.gov"),
    ("", "aws", "amazonaws.com"),
];

/// The partition of a region, as ARNs write it.
pub fn partition(region: &str) -> &'static str {
    place(region).0
}

/// The domain of a region's partition.
pub(crate) fn dns_suffix(region: &str) -> &'static str {
    place(region).1
}

fn place(region: &str) -> (&'static str, &'static str) {
    let found = PARTITIONS.iter().find(|it| region.starts_with(it.0));
    found.map_or(("aws", "amazonaws.com"), |it| (it.1, it.2))
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
