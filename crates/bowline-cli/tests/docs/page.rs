//! A page of Markdown as what there is to do.

/// What there is to do on a page, in order.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// The options of its sandbox.
    pub(crate) sandbox: String,
    /// Programs that its commands need besides what every Linux has.
    pub(crate) needs: String,
    pub(crate) parts: Vec<Part>,
    /// What stands on the page and is not understood.
    pub(crate) mistakes: Vec<String>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// What a reader does not see.
    Prepare(String),
    Script {
        text: String,
        /// Lines that are typed, if it runs on a terminal.
        typed: Option<Vec<String>>,
    },
    Shown {
        command: String,
        output: String,
    },
    File {
        name: String,
        text: String,
        append: bool,
    },
}

/// What the comment before a block says of it.
enum About {
    File { name: String, append: bool },
    Terminal(Vec<String>),
    Skip,
}

impl Page {
    pub(crate) fn parse(text: &str) -> Self {
        let mut page = Self::default();
        let mut about = None;
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(comment) = line.strip_prefix("<!-- ") {
                let mut whole = comment.to_owned();
                while !whole.ends_with("-->") {
                    let Some(next) = lines.next() else { break };
                    whole.push('\n');
                    whole.push_str(next);
                }
                page.comment(whole.trim_end_matches("-->").trim(), &mut about);
            } else if let Some(language) = line.trim_start().strip_prefix("```") {
                let indent = line.len() - line.trim_start().len();
                let block: String = lines
                    .by_ref()
                    .take_while(|line| line.trim_start() != "```")
                    .map(|line| format!("{}\n", line.get(indent..).unwrap_or_default()))
                    .collect();
                page.block(language, block, about.take());
            } else if line.starts_with("    ") && line.trim_start().starts_with("bowline ") {
                page.mistakes
                    .push(format!("a command outside of a sh block: {line}"));
            }
        }
        page
    }

    fn comment(&mut self, text: &str, about: &mut Option<About>) {
        let Some((word, rest)) = text.split_once(':') else {
            return;
        };
        let rest = rest.trim();
        match word {
            "sandbox" => rest.clone_into(&mut self.sandbox),
            "needs" => rest.clone_into(&mut self.needs),
            "prepare" => self.parts.push(Part::Prepare(rest.to_owned())),
            "file" | "append" => {
                *about = Some(About::File {
                    name: rest.to_owned(),
                    append: word == "append",
                });
            }
            "terminal" => {
                *about = Some(About::Terminal(rest.lines().map(str::to_owned).collect()));
            }
            "skip" if !rest.is_empty() => *about = Some(About::Skip),
            _ => self.mistakes.push(format!("a comment: {text}")),
        }
    }

    fn block(&mut self, language: &str, text: String, about: Option<About>) {
        match (language, about) {
            (_, Some(About::Skip)) => {}
            (_, Some(About::File { name, append })) => {
                self.parts.push(Part::File { name, text, append });
            }
            ("sh", None) => self.parts.push(Part::Script { text, typed: None }),
            ("sh", Some(About::Terminal(typed))) => self.parts.push(Part::Script {
                text,
                typed: Some(typed),
            }),
            ("console", None) => self.transcript(&text),
            // Without a language: what a reader types on a machine of their own, or a form.
            ("text" | "", None) => {}
            (language, _) => self
                .mistakes
                .push(format!("a block of {language:?} that nothing is done with")),
        }
    }

    /// Commands after `$ `, continued as long as a line ends with a backslash, and what they print.
    fn transcript(&mut self, text: &str) {
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            match (line.strip_prefix("$ "), self.parts.last_mut()) {
                (Some(command), _) => {
                    let mut command = command.to_owned();
                    while command.ends_with('\\') {
                        let Some(more) = lines.next() else { break };
                        command.push('\n');
                        command.push_str(more);
                    }
                    self.parts.push(Part::Shown {
                        command,
                        output: String::new(),
                    });
                }
                (None, Some(Part::Shown { output, .. })) => {
                    output.push_str(line);
                    output.push('\n');
                }
                (None, _) => self
                    .mistakes
                    .push(format!("an output without a command: {line}")),
            }
        }
    }
}

#[test]
fn a_page_is_understood() {
    let page = Page::parse(
        "<!-- sandbox: --fault a=b -->\n<!-- prepare: touch x\ntouch y -->\n# T\n```sh\na  # b\n```\n\n```console\n$ b \\\n  c\nd\n\
         $ e\n```\n<!-- file: f.toml -->\n```toml\ng\n```\n<!-- terminal: exit -->\n```sh\nh\n```\n<!-- skip: no -->\n```sh\ni\n```\n",
    );
    assert_eq!(page.mistakes, [] as [String; 0]);
    assert_eq!(page.sandbox, "--fault a=b");
    let script = |text: &str, typed: Option<&str>| Part::Script {
        text: text.to_owned(),
        typed: typed.map(|line| vec![line.to_owned()]),
    };
    let shown = |command: &str, output: &str| Part::Shown {
        command: command.to_owned(),
        output: output.to_owned(),
    };
    let expected = [
        Part::Prepare("touch x\ntouch y".to_owned()),
        script("a  # b\n", None),
        shown("b \\\n  c", "d\n"),
        shown("e", ""),
        Part::File {
            name: "f.toml".to_owned(),
            text: "g\n".to_owned(),
            append: false,
        },
        script("h\n", Some("exit")),
    ];
    assert_eq!(page.parts, expected);
    let wrong = Page::parse("<!-- typo: x -->\n```yaml\na\n```\n    bowline ls\n");
    assert_eq!(wrong.mistakes.len(), 3, "{:?}", wrong.mistakes);
}
