//! What `check` finds, and what each code means.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::source::Span;

/// Something that is wrong, or may be, at a place of a document.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Which rule.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    #[serde(flatten)]
    pub span: Span,
    /// The step that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It will likely not do what was meant.
    Warning,
    /// It cannot work.
    Error,
}

/// The number of a rule: `RB021`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code(pub(crate) u16);

impl Code {
    /// The rule that a text names, in any case.
    pub fn parse(text: &str) -> Option<Self> {
        let upper = text.trim().to_ascii_uppercase();
        let number = upper.strip_prefix("RB")?.parse().ok()?;
        RULES
            .iter()
            .any(|rule| rule.0 == number)
            .then_some(Self(number))
    }

    /// All rules, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        RULES.iter().map(|rule| Self(rule.0))
    }

    /// What the rule is about, in a line.
    pub fn title(self) -> &'static str {
        RULES
            .iter()
            .find(|rule| rule.0 == self.0)
            .map_or("", |rule| rule.1)
    }

    /// Why it is a rule and what mends a finding.
    pub fn explanation(self) -> &'static str {
        RULES
            .iter()
            .find(|rule| rule.0 == self.0)
            .map_or("", |rule| rule.2)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RB{:03}", self.0)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Number, title, explanation.
const RULES: [(u16, &str, &str); 37] = [
    (
        1,
        "the document cannot be read",
        "A runbook is YAML or JSON with schemaVersion '0.3', mainSteps with at least one step, and no keys but those that Automation knows. A misspelled key would be ignored at best, so it is an error; a key that is there twice as well.",
    ),
    (
        2,
        "a name is bad or used twice",
        "Step names are letters, digits and underscores, and unique in the whole document, steps inside of loops included. Parameter names are letters and digits. Templates with placeholders such as ${name} have to be filled in before they are checked.",
    ),
    (
        3,
        "the action is unknown",
        "Every step has an action that Automation has. Actions that only the service can run are an error here too: `runbook submit` runs them.",
    ),
    (
        4,
        "a step that does not exist",
        "nextStep, onFailure, onCancel, NextStep and Default name steps of the document. nextStep takes a plain name; onFailure and onCancel write step:NAME. A step outside of a loop cannot lead into the loop's body.",
    ),
    (
        5,
        "isEnd and nextStep together",
        "A step ends the runbook or names the next one. The service refuses documents in which a step does both.",
    ),
    (
        6,
        "onCancel cannot lead there",
        "After a cancellation the service starts no approve, copyImage, createImage, createStack, createTags, pause, runInstances or sleep step, and onCancel is not allowed on loop and updateVariable steps.",
    ),
    (
        7,
        "a loop without a way out",
        "The service refuses documents whose steps lead in a ring that no branch leaves, and prints the ring. A ring that a branch leaves may be meant; aws:loop says so more plainly.",
    ),
    (
        8,
        "the step can never be reached",
        "No nextStep, branch, onFailure or onCancel leads to this step, and the step before it never goes on to it. Often a nextStep is missing, or isEnd is set too early.",
    ),
    (
        10,
        "a reference names nothing",
        "{{ NAME }} is a parameter, {{ step.Output }} an output of a step, {{ variable:name }} a variable; global: has ACCOUNT_ID, REGION, AWS_PARTITION, DATE and DATE_TIME, automation: has EXECUTION_ID. Case counts.",
    ),
    (
        11,
        "the step has not run before",
        "A reference to an output of a step has no value unless that step ran successfully before. An error where no path leads from there to here, a warning where only some do.",
    ),
    (
        12,
        "{{ssm:…}} in a step",
        "References to the Parameter Store are allowed in defaults of parameters only; the service refuses a document with one in a step's inputs. Declare a parameter whose default is the reference, and use the parameter.",
    ),
    (
        13,
        "a default refers to something",
        "Defaults are not expanded, except for the system references and {{ssm:…}}. References to other parameters happen to work in some documents, one level deep, and are documented as unsupported.",
    ),
    (
        14,
        "braces inside of braces",
        "A reference cannot be made of another one: {{ a{{ b }} }} is never resolved.",
    ),
    (
        20,
        "inputs that the action does not have, or lacks",
        "Each action has its required inputs, and ignores none silently: a misspelled optional input is a warning, a missing required one an error.",
    ),
    (
        21,
        "the type does not fit",
        "Nothing is converted in inputs: where a String is wanted, an Integer fails at run time, after the steps before it have done their work. Declare the output with the type that is needed (outputs are the one place where values are converted), or put the reference inside a text. `runbook check --types` shows all types.",
    ),
    (
        22,
        "the operator is for another type",
        "StringEquals and its kin need a String, Numeric… an Integer, BooleanEquals a Boolean with a real boolean beside it. Lambda's StatusCode is a String: compare it with StringEquals '200'. An API's numbers and booleans keep their types in outputs that declare them.",
    ),
    (
        23,
        "DesiredValues is no list",
        "DesiredValues is a list with at least one value.",
    ),
    (
        24,
        "a value that can never be equal",
        "Values are compared as text, and case counts: a boolean is 'True' or 'False', a number its decimal digits, a list '[]' if it is empty, a map is never equal to anything. A state that the service's model does not list is a warning only, as models are not complete.",
    ),
    (
        25,
        "a desired value is no string",
        "DesiredValues are strings. Write '0' and 'True' with quotes.",
    ),
    (
        26,
        "the wait cannot end early",
        "aws:waitForAwsResourceProperty waits for the desired values alone. A value that is final but not desired, such as an exit code other than 0, does not fail the step: it runs into its timeout and ends TimedOut. Wait for what always comes (lastStatus STOPPED) and branch on the result, or list all final values and branch, and set timeoutSeconds.",
    ),
    (
        30,
        "the service or operation is unknown",
        "Service is a client name of the Python SDK (ecs, elbv2, stepfunctions, logs), Api an operation of it (RunTask or run_task).",
    ),
    (
        31,
        "the operation has no such input",
        "Members are spelled as in the service's model, case included: `cluster` for ECS, `DBInstanceIdentifier` for RDS. Required members have to be there, and literals have to have the right type.",
    ),
    (
        32,
        "the operation streams",
        "Operations whose input or output is a stream cannot be called from a runbook.",
    ),
    (
        33,
        "the answer has no such member",
        "The selector names a member that the operation's answer does not have, so that it selects nothing: the output stays without a value, a wait runs into its timeout.",
    ),
    (
        34,
        "the selector cannot be read",
        "Selectors are a part of JSONPath: $.a.b[0], ['name'], [*], .*, ..name and filters [?(@.a == 'x')]. Slices, unions and functions are not supported.",
    ),
    (
        40,
        "the output cannot become this type",
        "The selected member cannot be converted to the declared type: the step fails after its call was made. Declare the type that the member has.",
    ),
    (
        41,
        "the document's output names nothing",
        "Entries of outputs are `step.Output`, with a step and an output that exist.",
    ),
    (
        50,
        "a reference inside of a script",
        "References in an inline Script are replaced in its source, so that a value with a quote in it breaks the script, or runs as code. Hand values over in InputPayload.",
    ),
    (
        51,
        "the script has no role",
        "The service gives a script no AWS credentials unless the document has an assumeRole. Locally scripts get the credentials of the run.",
    ),
    (
        60,
        "how a failure counts",
        "A step that fails counts as a failure of the run unless isCritical is false, even if onFailure leads to a step that succeeds; without isCritical only onFailure: Continue makes a failure not count. Write isCritical: false where a handled failure is fine. A step without the failure route that the others have is named as well.",
    ),
    (
        61,
        "longer than the service allows",
        "timeoutSeconds is capped by the service for this action; the step will end TimedOut earlier than is written.",
    ),
    (
        62,
        "a handler on the way of success",
        "The step that handles failures is also reached when all goes well, because the step before it goes on to it. That is legal and often meant as a clean-up; if it is not meant, the step before it lacks isEnd.",
    ),
    (
        63,
        "isEnd does not end the run on failure",
        "onFailure: step:X goes before isEnd: a step with both ends the run when it succeeds, and leads to X when it fails. Amazon's own runbooks rely on it. The documentation reads otherwise.",
    ),
    (
        64,
        "quotes in the payload",
        "The text of Payload is sent as it is, references are put into it without JSON quoting: a quote in a value breaks it. InputPayload takes a map and quotes as JSON does.",
    ),
    (
        65,
        "keys that only the service knows",
        "The key belongs to change templates or similar and has no effect here.",
    ),
    (
        66,
        "a limit that is not documented",
        "minValue and maxValue are enforced here, but no documentation says that the service does so.",
    ),
    (
        70,
        "the step does not run here",
        "PowerShell scripts, and executions in several places (Targets, TargetLocations and the like), are the service's. The step is checked, but `runbook run` refuses the document before its first step. `runbook submit` lets the service run it.",
    ),
];
