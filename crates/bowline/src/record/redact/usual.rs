//! The patterns that are always there: what the usual secrets look like.
//!
//! A group that begins with `secret` is what is taken out, else all that matches. Private keys are in [`super::key`].

/// A part of a name that says that its value is a secret.
macro_rules! secret {
    () => {
        "(?:passwo?r?d|passphrase|secret|token|api_?-?key|access_?-?key|credential)"
    };
}

/// In double quotes, up to the closing one, or to the end of the line. What a shell would join to it belongs to it.
macro_rules! double {
    () => {
        concat!(
            r#"(?:\\[^\r\n\x07\x1b]|[^"\\\r\n\x07\x1b])+"#,
            r#"(?:"[\w'"$%@!#~^*+/.=-]"#,
            rest!(),
            r"*)?"
        )
    };
}

/// In single quotes likewise.
macro_rules! single {
    () => {
        concat!(
            r"(?:\\[^\r\n\x07\x1b]|[^'\\\r\n\x07\x1b])+",
            r#"(?:'[\w'"$%@!#~^*+/.=-]"#,
            rest!(),
            r"*)?"
        )
    };
}

/// A word's beginning, without quotes.
macro_rules! first {
    () => {
        r#"[^\s"'\x07\x1b]"#
    };
}

/// What goes on with it, up to a space: passwords are made of any punctuation.
macro_rules! rest {
    () => {
        concat!(
            r#"(?:"(?:\\[^\r\n\x07\x1b]|[^"\\\r\n\x07\x1b])*"|'[^'\r\n\x07\x1b]*'"#,
            r"|\\[^\r\n\x07\x1b]|[^\s\x07\x1b])"
        )
    };
}

/// Name and pattern.
pub(super) const USUAL: [(&str, &str); 9] = [
    (
        "aws-key-id",
        r"\b(?:A3T[A-Z0-9]|AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b",
    ),
    (
        "url-password",
        r"[A-Za-z][A-Za-z0-9+.-]{1,30}://[^\s/:@]{0,256}:(?P<secret>[^\s/@]+)@",
    ),
    (
        "authorization",
        r"(?i)\b(?:bearer|basic)[ \t]+(?P<secret>[A-Za-z0-9._~+/-]{12,}=*)",
    ),
    (
        "jwt",
        r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?",
    ),
    (
        "token",
        r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeoprs]-[A-Za-z0-9-]{10,}|[sr]k_live_[A-Za-z0-9]{10,}|npm_[A-Za-z0-9]{30,}|AIza[A-Za-z0-9_-]{30,})",
    ),
    (
        "assignment",
        concat!(
            r"(?i)[\w.-]*",
            secret!(),
            r"[\w.-]{0,64}(?:",
            // The name in quotes, as in JSON: numbers and the like end at a comma.
            r#"\\?["'][ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}(?:"#,
            r#"\\"(?P<secret1>(?:\\\\\\"|\\[^"\r\n]|[^"\\\r\n\x07\x1b])+)"#,
            r#"|"(?P<secret2>"#,
            double!(),
            r")|'(?P<secret3>",
            single!(),
            r#")|(?P<secret4>[^\s"',;&}\])\\\x07\x1b]{3,}))"#,
            // Or without.
            r"|[ \t]{0,8}(?:=>|:=|=|:)[ \t]{0,8}(?:",
            r#"\\"(?P<secret5>(?:\\\\\\"|\\[^"\r\n]|[^"\\\r\n\x07\x1b])+)"#,
            r#"|"(?P<secret6>"#,
            double!(),
            r")|'(?P<secret7>",
            single!(),
            r")|(?P<secret8>",
            first!(),
            rest!(),
            r"{2,})))",
        ),
    ),
    (
        // As YAML has it, alone in its line: the value has spaces.
        "setting",
        concat!(
            r"(?im)^[ \t]*(?:-[ \t]+)?[\w.-]*",
            secret!(),
            r#"[\w.-]{0,64}["']?:[ \t]+(?P<secret>[^\s"'\x07\x1b][^\r\n\x07\x1b]{2,})"#,
        ),
    ),
    (
        "option",
        concat!(
            r"(?i)(?:^|\s)--?[\w-]*",
            secret!(),
            r#"[ \t]+(?:"(?P<secret1>"#,
            double!(),
            r")|'(?P<secret2>",
            single!(),
            r#")|(?P<secret3>[^\s"'\x07\x1b-]"#,
            rest!(),
            r"*))",
        ),
    ),
    (
        // PGPASSWORD and its like are assignments; this is curl's and mysql's way.
        "user-option",
        concat!(
            r#"(?:^|\s)(?:-u|--user)[ \t=]{0,4}(?:"[^\s:"']{1,256}:(?P<secret1>"#,
            double!(),
            r#")|'[^\s:"']{1,256}:(?P<secret2>"#,
            single!(),
            r#")|[^\s:"']{1,256}:(?P<secret3>"#,
            first!(),
            rest!(),
            r"*))",
        ),
    ),
];

/// A word behind which a secret comes as the next.
pub(super) const OPTION: &str = concat!(r"(?i)^--?[\w-]*", secret!(), "$");
/// The like of it that says that there is none.
pub(super) const NO_OPTION: &str = "(?i)^--?(?:no|skip|without)-";
/// `-u`, behind which a name and a secret come.
pub(super) const USER_OPTION: &str = "^(?:-u|--user)$";
/// A word that is an assignment from its beginning.
pub(super) const ASSIGNMENT: &str = concat!(r"(?i)^[\w.-]*", secret!(), r"[\w.-]{0,64}=");
/// A word behind which a script comes: what follows an assignment in it is a command.
pub(super) const SCRIPT: &str = "^-[A-Za-z]*c$";
/// A member's name.
pub(super) const MEMBER: &str = secret!();
