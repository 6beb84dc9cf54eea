//! What is typed, in the syntax of fzf: words that all have to match, `'exact`, `^prefix`, `suffix$`, `!not`, `a | b`.
//!
//! A row is matched by its path. A task's id is a string of random letters in which every short word could be found
//! by accident, so only its beginning counts, or a part of it that is asked for exactly.

use nucleo_matcher::pattern::{Atom, AtomKind, CaseMatching, Normalization};
use nucleo_matcher::{Config, Matcher, Utf32Str};

use super::line::Line;

/// A parsed query: every group has to match, and a group does if one of its terms does.
#[derive(Debug, Default)]
pub(super) struct Query {
    groups: Vec<Vec<Term>>,
}

#[derive(Debug)]
struct Term {
    atom: Atom,
    text: String,
}

/// Scores lines; holds the memory for it.
pub(super) struct Scorer {
    matcher: Matcher,
    chars: Vec<char>,
}

/// Which characters of a line's path match, and how many of its id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) path: Vec<u32>,
    pub(super) id: usize,
}

impl Query {
    pub(super) fn parse(text: &str) -> Self {
        let mut groups: Vec<Vec<Term>> = Vec::new();
        let mut or = false;
        for word in words(text) {
            if word == "|" {
                or = !groups.is_empty();
                continue;
            }
            let Some(term) = Term::parse(&word) else {
                continue;
            };
            match groups.last_mut().filter(|_| or) {
                Some(group) => group.push(term),
                None => groups.push(vec![term]),
            }
            or = false;
        }
        Self { groups }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// How well a line matches, if it does.
    pub(super) fn score(&self, line: &Line, scorer: &mut Scorer) -> Option<u32> {
        let mut sum = 0;
        for group in &self.groups {
            let scores = group.iter().filter_map(|term| term.score(line, scorer));
            sum += scores.max()?;
        }
        Some(sum)
    }

    /// What of a line to highlight.
    pub(super) fn marks(&self, line: &Line, scorer: &mut Scorer) -> Marks {
        let mut marks = Marks::default();
        for term in self.groups.iter().flatten() {
            term.mark(line, scorer, &mut marks);
        }
        marks.path.sort_unstable();
        marks.path.dedup();
        marks
    }
}

/// Whether what a query matches can only become less when it is continued to the longer text.
pub(super) fn narrows(before: &str, after: &str) -> bool {
    after.starts_with(before) && !after.contains(['!', '|', '$', '\\'])
}

impl Term {
    fn parse(word: &str) -> Option<Self> {
        let atom = Atom::parse(word, CaseMatching::Smart, Normalization::Smart);
        let text = atom.needle_text().to_string();
        (!text.is_empty()).then_some(Self { atom, text })
    }

    fn score(&self, line: &Line, scorer: &mut Scorer) -> Option<u32> {
        let in_id = self.in_id(line);
        if self.atom.negative {
            let (haystack, matcher) = scorer.split(&line.path);
            let fits = self.atom.score(haystack, matcher);
            return fits.filter(|_| !in_id).map(u32::from);
        }
        let (haystack, matcher) = scorer.split(&line.path);
        let by_path = self.atom.score(haystack, matcher).map(u32::from);
        let by_id =
            in_id.then(|| ID_SCORE * u32::try_from(self.text.len()).unwrap_or(u32::MAX / 64));
        by_path.max(by_id)
    }

    fn mark(&self, line: &Line, scorer: &mut Scorer, marks: &mut Marks) {
        if self.atom.negative {
            return;
        }
        if self.in_id(line) && self.atom.kind != AtomKind::Postfix {
            marks.id = marks.id.max(self.text.len());
        }
        let (haystack, matcher) = scorer.split(&line.path);
        self.atom.indices(haystack, matcher, &mut marks.path);
    }

    fn in_id(&self, line: &Line) -> bool {
        let Some(id) = line.id.as_deref() else {
            return false;
        };
        match self.atom.kind {
            AtomKind::Fuzzy | AtomKind::Prefix => id.starts_with(&self.text),
            AtomKind::Substring if self.atom.negative => id.starts_with(&self.text),
            AtomKind::Substring => id.contains(&self.text),
            AtomKind::Postfix => id.ends_with(&self.text),
            AtomKind::Exact => id == self.text,
            _ => false,
        }
    }
}

impl Default for Scorer {
    fn default() -> Self {
        Self {
            matcher: Matcher::new(Config::DEFAULT.match_paths()),
            chars: Vec::new(),
        }
    }
}

impl Scorer {
    fn split<'a>(&'a mut self, text: &'a str) -> (Utf32Str<'a>, &'a mut Matcher) {
        (Utf32Str::new(text, &mut self.chars), &mut self.matcher)
    }
}

/// Words between spaces; a space behind a backslash belongs to its word.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '\\' if chars.next_if_eq(&' ').is_some() => word.push(' '),
            ' ' | '\t' => words.push(std::mem::take(&mut word)),
            next => word.push(next),
        }
    }
    words.push(word);
    words.retain(|word| !word.is_empty());
    words
}

/// For each character of a task's id: somewhat more than a run of letters in a name is worth.
const ID_SCORE: u32 = 28;

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, id: Option<&str>) -> Line {
        Line::for_test(path, id)
    }

    fn matches(query: &str, path: &str) -> bool {
        let mut scorer = Scorer::default();
        Query::parse(query)
            .score(&line(path, None), &mut scorer)
            .is_some()
    }

    #[test]
    fn the_syntax_is_that_of_fzf() {
        let path = "prod/web-shop/app";
        for query in [
            "",
            " ",
            "pwa",
            "web prod",
            "'web",
            "^prod",
            "app$",
            "^prod/web-shop/app$",
            "!dev",
            "dev | prod",
            "dev | 'shop app$",
            "shop !^dev !side$",
            "'",
            "!",
            "|",
            "web |",
            "| web",
        ] {
            assert!(matches(query, path), "{query:?} finds it");
        }
        for query in [
            "xyz",
            "web dev",
            "'wb",
            "^web",
            "prod$",
            "!web",
            "!^prod",
            "!app$",
            "dev | test",
            "prod dev | test",
            "Web",
            "^prod/web-shop$",
        ] {
            assert!(!matches(query, path), "{query:?} does not find it");
        }
        assert!(matches("Web", "prod/Web"), "capitals are meant");
        assert!(matches("a\\ b", "x/a b"));
        assert!(!matches("a\\ b", "a/x/b"));
    }

    #[test]
    fn a_task_id_counts_by_its_beginning() {
        let task = line("prod/web", Some("3f2adb00c0ffee"));
        let found = |query: &str| {
            Query::parse(query)
                .score(&task, &mut Scorer::default())
                .is_some()
        };
        for query in ["3f2a", "web 3f2a", "'c0ffee", "ffee$", "^3f2a"] {
            assert!(found(query), "{query}");
        }
        // Somewhere in an id there is nearly every pair of letters.
        for query in ["dc", "2adb", "!3f2a", "!web"] {
            assert!(!found(query), "{query}");
        }
        let marks = Query::parse("3f2a we").marks(&task, &mut Scorer::default());
        assert_eq!((marks.path, marks.id), (vec![5, 6], 4));
    }

    #[test]
    fn only_what_can_only_lose_matches_narrows() {
        for (before, after) in [("", "w"), ("we", "web"), ("we", "we s"), ("^w", "^we")] {
            assert!(narrows(before, after), "{before} to {after}");
        }
        for (before, after) in [
            ("web", "we"),
            ("web", "api"),
            ("!w", "!we"),
            ("w", "w |"),
            ("w", "w$"),
            ("w$", "w$x"),
        ] {
            assert!(!narrows(before, after), "{before} to {after}");
        }
    }
}
