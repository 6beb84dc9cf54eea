//! Random identifiers in the shapes AWS gives them, and the ARNs of this sandbox.

use std::fmt::Write as _;

/// `length` lower-case hexadecimal digits.
pub(crate) fn hex(length: usize) -> String {
    from_alphabet(b"0123456789abcdef", length)
}

/// `length` decimal digits, the first of them not zero.
pub(crate) fn digits(length: usize) -> String {
    let mut text = from_alphabet(b"123456789", 1);
    text.push_str(&from_alphabet(b"0123456789", length.saturating_sub(1)));
    text
}

/// `length` characters from `A-Z` and `2-7`, as in access key ids.
pub(crate) fn base32(length: usize) -> String {
    from_alphabet(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", length)
}

/// `length` lower-case letters and digits, as in ids of sessions.
pub(crate) fn base36(length: usize) -> String {
    from_alphabet(b"0123456789abcdefghijklmnopqrstuvwxyz", length)
}

/// `length` characters as in secret access keys.
pub(crate) fn secret(length: usize) -> String {
    from_alphabet(
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/",
        length,
    )
}

/// Something of which nobody can tell what it stands for, the same for the same text.
pub(crate) fn opaque(text: &str) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(text))
}

/// A random UUID (version 4).
pub(crate) fn uuid() -> String {
    let mut bytes = random::<16>();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Random bytes from the operating system.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system has random numbers");
    bytes
}

/// Names of clusters, services and families: up to 255 letters, digits, hyphens and underscores.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=255).contains(&name.len())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn from_alphabet(alphabet: &[u8], length: usize) -> String {
    // Bytes at or above the largest multiple of the alphabet's size would favour its first letters.
    let limit = 256 - 256 % alphabet.len();
    let mut text = String::with_capacity(length);
    loop {
        // A block at a time: a world of thousands of tasks needs some hundred thousand letters.
        for byte in random::<64>() {
            if text.len() == length {
                return text;
            }
            if usize::from(byte) < limit {
                text.push(char::from(alphabet[usize::from(byte) % alphabet.len()]));
            }
        }
    }
}

/// The account and region that everything in the sandbox belongs to.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// `aws`, `aws-cn`, `aws-us-gov` …
    pub(crate) partition: &'static str,
    /// The region that its world is in.
    pub(crate) region: String,
    /// Twelve digits.
    pub(crate) id: String,
    /// The role that calls come with, by name; in the account of the sandbox's own keys there is a user instead.
    pub(crate) role: Option<String>,
}

impl Account {
    /// The sandbox's account, seen from `region`.
    pub(crate) fn new(region: &str) -> Self {
        let partition = match region.split('-').next() {
            Some("cn") => "aws-cn",
            Some("eusc") => "aws-eusc",
            _ if region.starts_with("us-gov-") => "aws-us-gov",
            _ => "aws",
        };
        Self {
            partition,
            region: region.to_owned(),
            id: "123456789012".to_owned(),
            role: None,
        }
    }

    /// Another account, in which everybody comes with a role.
    pub(crate) fn other(region: &str, id: &str, role: &str) -> Self {
        Self {
            id: id.to_owned(),
            role: Some(role.to_owned()),
            ..Self::new(region)
        }
    }

    /// The host of AWS's data channels in this region.
    pub(crate) fn channel_host(&self) -> String {
        let domain = match self.partition {
            "aws-cn" => "amazonaws.com.cn",
            "aws-eusc" => "amazonaws.eu",
            _ => "amazonaws.com",
        };
        format!("ssmmessages.{}.{domain}", self.region)
    }

    /// The ARN of the one caller there is.
    pub(crate) fn caller(&self) -> String {
        let Self { partition, id, .. } = self;
        match &self.role {
            Some(role) => self.assumed_role(role, CALLER_NAME),
            None => format!("arn:{partition}:iam::{id}:user/{CALLER_NAME}"),
        }
    }

    /// The ARN of an IAM role of this account.
    pub(crate) fn role(&self, name: &str) -> String {
        format!("arn:{}:iam::{}:role/{name}", self.partition, self.id)
    }

    /// The ARN of a role that somebody has taken on under the name `session`.
    pub(crate) fn assumed_role(&self, name: &str, session: &str) -> String {
        let Self { partition, id, .. } = self;
        format!("arn:{partition}:sts::{id}:assumed-role/{name}/{session}")
    }

    /// The ARN of a Lambda function.
    pub(crate) fn function(&self, name: &str) -> String {
        format!(
            "arn:{}:lambda:{}:{}:function:{name}",
            self.partition, self.region, self.id
        )
    }

    /// The ARN of a cluster.
    pub(crate) fn cluster(&self, name: &str) -> String {
        self.ecs(&format!("cluster/{name}"))
    }

    /// The ARN of a KMS key (`key/…`) or alias (`alias/…`).
    pub(crate) fn kms(&self, resource: &str) -> String {
        format!(
            "arn:{}:kms:{}:{}:{resource}",
            self.partition, self.region, self.id
        )
    }

    /// The ARN of a Session Manager session.
    pub(crate) fn session(&self, id: &str) -> String {
        format!(
            "arn:{}:ssm:{}:{}:session/{id}",
            self.partition, self.region, self.id
        )
    }

    /// The ARN of a service, in the form that holds the cluster's name.
    pub(crate) fn service(&self, cluster: &str, name: &str) -> String {
        self.ecs(&format!("service/{cluster}/{name}"))
    }

    /// The ARN of a task, in the form that holds the cluster's name.
    pub(crate) fn task(&self, cluster: &str, id: &str) -> String {
        self.ecs(&format!("task/{cluster}/{id}"))
    }

    /// The ARN of a container of a task.
    pub(crate) fn container(&self, cluster: &str, task: &str, id: &str) -> String {
        self.ecs(&format!("container/{cluster}/{task}/{id}"))
    }

    /// The ARN of a capacity provider.
    pub(crate) fn capacity_provider(&self, name: &str) -> String {
        self.ecs(&format!("capacity-provider/{name}"))
    }

    /// The ARN of a container instance.
    pub(crate) fn container_instance(&self, cluster: &str, id: &str) -> String {
        self.ecs(&format!("container-instance/{cluster}/{id}"))
    }

    /// The ARN of a task definition.
    pub(crate) fn definition(&self, family: &str, revision: usize) -> String {
        self.ecs(&format!("task-definition/{family}:{revision}"))
    }

    /// What follows `<kind>/` in an ARN of this account and region; `None` for any other ARN.
    pub(crate) fn within<'a>(&self, arn: &'a str, kind: &str) -> Option<&'a str> {
        arn.strip_prefix(&self.ecs(""))?
            .strip_prefix(kind)?
            .strip_prefix('/')
    }

    fn ecs(&self, resource: &str) -> String {
        format!(
            "arn:{}:ecs:{}:{}:{resource}",
            self.partition, self.region, self.id
        )
    }
}

/// The user name of the one caller; also the first part of the ids of its sessions.
pub(crate) const CALLER_NAME: &str = "sandbox";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_the_shapes_of_aws() {
        let id = uuid();
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!(hex(32).bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(!digits(10).starts_with('0'));
        assert_eq!(digits(10).len(), 10);
    }

    #[test]
    fn only_arns_of_this_account_and_region_are_ours() {
        let account = Account::new("eu-central-1");
        let arn = account.task("demo", "0123");
        assert_eq!(account.within(&arn, "task"), Some("demo/0123"));
        assert_eq!(account.within(&arn, "service"), None);
        assert_eq!(Account::new("us-east-1").within(&arn, "task"), None);
    }

    #[test]
    fn the_partition_follows_the_region() {
        assert_eq!(Account::new("us-gov-west-1").partition, "aws-us-gov");
        assert_eq!(Account::new("cn-north-1").partition, "aws-cn");
        assert_eq!(Account::new("us-east-1").partition, "aws");
    }
}
