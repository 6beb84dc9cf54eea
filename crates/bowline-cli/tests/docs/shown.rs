//! Whether a command printed what a page says.

use std::sync::LazyLock;

use regex::Regex;

/// What differs from run to run, by its kind. The order matters: the longest first.
static VARYING: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    let all = [
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "UUID"),
        (r"\b[0-9a-f]{32}\b", "TASK"),
        (
            r"\b(sandbox|ecs-execute-command)-[a-z0-9]{20,}\b",
            "SESSION",
        ),
        (r"\bip(-\d{1,3}){4}\b", "HOST"),
        (r"\b127(\.\d{1,3}){3}\b", "ADDRESS"),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z?", "MOMENT"),
        (r"\b\d{8}T\d{4,6}Z?\b", "MOMENT"),
        (r"\b\d{4}-\d\d-\d\d( \d\d:\d\d(:\d\d)?Z?)?", "MOMENT"),
        (r"\b[0-9a-f]{8,12}\b", "HEX"),
        (r"\b\d+(\.\d+)? ?(ms|s)\b", "TIME"),
        (r":\d{5}\b", ":PORT"),
        (r"[ \t]+", " "),
    ];
    let compiled = all
        .into_iter()
        .map(|(pattern, name)| (Regex::new(pattern).unwrap(), name));
    compiled.collect()
});

/// Line by line; `…` stands for anything, a line with nothing else for any lines.
pub(crate) fn is_like(wanted: &str, printed: &str) -> bool {
    let mut pattern = String::from("(?s)^");
    for line in wanted.lines() {
        if line.trim() == "…" {
            pattern.push_str(r"([^\n]*\n)*?");
            continue;
        }
        let parts: Vec<String> = steady(line).split('…').map(regex::escape).collect();
        pattern.push_str(&parts.join(r"[^\n]*"));
        pattern.push_str(r"\n");
    }
    pattern.push('$');
    let printed = printed.replace("\r\n", "\n");
    let printed: String = printed.lines().map(|line| steady(line) + "\n").collect();
    Regex::new(&pattern).unwrap().is_match(&printed)
}

fn steady(line: &str) -> String {
    let mut line = line.trim_end().to_owned();
    for (pattern, name) in VARYING.iter() {
        line = pattern.replace_all(&line, *name).into_owned();
    }
    line
}

#[test]
fn what_differs_by_its_kind_is_the_same_and_nothing_else_is() {
    let same = [
        (
            "task 24761361cd91d87546daa21ea5d9325b is the newest\n",
            "task a7c670dfcfd6a1e29b41034b07043897 is the newest\n",
        ),
        ("demo/web/9b0a35d4    0.1s\n", "demo/web/d8cd88e9 12.3s\n"),
        ("a … c\n", "a b c\n"),
        ("a\n…\nz\n", "a\nb\nc\nz\n"),
        ("", ""),
    ];
    for (wanted, printed) in same {
        assert!(is_like(wanted, printed), "{wanted:?} {printed:?}");
    }
    let different = [
        ("exit code 3\n", "exit code 4\n"),
        ("a\n", "a\nb\n"),
        ("", "a\n"),
        ("a … c\n", "a b\n"),
    ];
    for (wanted, printed) in different {
        assert!(!is_like(wanted, printed), "{wanted:?} {printed:?}");
    }
}
