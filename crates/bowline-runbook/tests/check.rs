//! Each rule of `check`: a document that breaks it, and what is said.

use bowline_runbook::{Code, Severity, check};

const NOTE: Severity = Severity::Note;
const WARNING: Severity = Severity::Warning;
const ERROR: Severity = Severity::Error;

/// Rule, severity, the steps and what else is in the document, and words of the message or its suggestion.
const CASES: &[(u16, Severity, &str, &str)] = &[
    (
        1,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}, next: a}",
        "step a has no key next",
    ),
    (
        1,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}, isEnd: 3}",
        "isEnd of step a has to be true or false, and is an integer",
    ),
    (
        1,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}, timeoutSeconds: 0}",
        "at least 1",
    ),
    (
        1,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}, outputs: [{Name: x}]}",
        "Name and a Selector",
    ),
    (
        1,
        ERROR,
        "PARAMETERS {P: {type: string}}",
        "did you mean String?",
    ),
    (
        2,
        ERROR,
        "- {name: a-b, action: 'aws:sleep', inputs: {Duration: PT1S}}",
        "letters, digits and underscores",
    ),
    (
        2,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\n- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}",
        "there is another step a",
    ),
    (
        2,
        ERROR,
        "PARAMETERS {a_b: {type: String}}",
        "letters and digits",
    ),
    (
        3,
        ERROR,
        "- {name: a, action: 'aws:executeAwsAPI', inputs: {}}",
        "did you mean aws:executeAwsApi?",
    ),
    (
        3,
        ERROR,
        "- {name: a, action: 'aws:invokeWebhook', inputs: {IntegrationName: x}}",
        "not supported locally",
    ),
    (
        4,
        ERROR,
        "- {name: first, action: 'aws:sleep', inputs: {Duration: PT1S}, nextStep: frist}",
        "did you mean first?",
    ),
    (
        4,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}, onFailure: b}",
        "write step:b",
    ),
    (
        4,
        ERROR,
        "- {name: a, action: 'aws:branch', inputs: {Choices: [{NextStep: nowhere, Variable: x, StringEquals: x}]}}",
        "the branch leads to nowhere",
    ),
    (
        4,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}, nextStep: i}\n- {name: l, action: 'aws:loop', inputs: {Iterators: [x], Steps: [{name: i, action: 'aws:sleep', inputs: {Duration: PT1S}}]}}",
        "inside of the loop l",
    ),
    (
        5,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}, isEnd: true, nextStep: a}",
        "take out isEnd or nextStep",
    ),
    (
        6,
        ERROR,
        "- {name: a, action: 'aws:pause', inputs: {}, onCancel: 'step:b'}\n- {name: b, action: 'aws:sleep', inputs: {Duration: PT1S}}",
        "not started after a cancellation",
    ),
    (
        6,
        ERROR,
        "- {name: a, action: 'aws:updateVariable', inputs: {Name: 'variable:v', Value: x}, onCancel: 'step:a'}",
        "not allowed on loop and updateVariable",
    ),
    (
        7,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\n- {name: b, action: 'aws:sleep', inputs: {Duration: PT1S}, nextStep: a}",
        "for ever: a -> b -> a",
    ),
    (
        7,
        WARNING,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\n- {name: b, action: 'aws:branch', inputs: {Choices: [{NextStep: a, Variable: '{{ P }}', StringEquals: x}]}, isEnd: true}",
        "can go round: a -> b -> a",
    ),
    (
        8,
        WARNING,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}, isEnd: true}\n- {name: b, action: 'aws:sleep', inputs: {Duration: PT1S}}",
        "no step leads to b",
    ),
    (
        10,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ Q }}'}}",
        "there is no parameter Q",
    ),
    (
        10,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ v }}'}}",
        "write {{ variable:v }}",
    ),
    (
        10,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ global:REGIN }}'}}",
        "did you mean REGION?",
    ),
    (
        10,
        ERROR,
        "- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}}\n- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ f.Statuscode }}'}}",
        "did you mean StatusCode?",
    ),
    (
        11,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ f.Payload }}'}}\n- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}}",
        "f cannot have run successfully before a",
    ),
    (
        11,
        ERROR,
        "- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: '{{ f.Payload }}'}}",
        "an output of its own",
    ),
    (
        11,
        WARNING,
        "- {name: f, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}, onFailure: Continue}\n- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ f.Payload }}'}}\n- {name: b, action: 'aws:branch', inputs: {Choices: [{NextStep: g, Variable: '{{ P }}', StringEquals: x}]}}\n- {name: h, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}}\n- {name: g, action: 'aws:sleep', inputs: {Duration: '{{ h.Payload }}'}}",
        "on some ways here h has not run",
    ),
    (
        12,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ssm:/a/b}}'}}",
        "declare a parameter",
    ),
    (
        13,
        WARNING,
        "PARAMETERS {P: {type: String, default: a}, Q: {type: String, default: 'x-{{ P }}'}}",
        "one level deep",
    ),
    (
        14,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: '{{ a{{ P }} }}'}}",
        "never resolved",
    ),
    (
        20,
        ERROR,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {functionName: f}}",
        "functionName is written FunctionName",
    ),
    (
        20,
        WARNING,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S, Duraton: x}}",
        "did you mean Duration?",
    ),
    (
        20,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: 10s}}",
        "no ISO 8601 duration",
    ),
    (
        20,
        ERROR,
        "- {name: a, action: 'aws:branch', inputs: {Choices: [{NextStep: a, Variable: x, StringEqual: x}]}}",
        "did you mean StringEquals?",
    ),
    (
        21,
        ERROR,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: '{{ N }}'}}",
        "FunctionName takes a String, and N is an Integer",
    ),
    (
        21,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: DescribeTasks, tasks: '{{ P }}'}}",
        "write a list",
    ),
    (
        21,
        ERROR,
        "- {name: a, action: 'aws:updateVariable', inputs: {Name: 'variable:v', Value: 3}}",
        "variable:v is a String",
    ),
    (
        21,
        ERROR,
        "PARAMETERS {P: {type: Boolean, default: 'true'}}",
        "the default has to be a Boolean, and is a string",
    ),
    (
        22,
        ERROR,
        "- {name: a, action: 'aws:branch', inputs: {Choices: [{NextStep: a, Variable: '{{ N }}', StringEquals: '3'}]}}",
        "StringEquals needs a String, and N is an Integer",
    ),
    (
        22,
        ERROR,
        "- {name: a, action: 'aws:branch', inputs: {Choices: [{NextStep: a, Variable: '{{ B }}', BooleanEquals: 'true'}]}}",
        "take the quotes away",
    ),
    (
        23,
        ERROR,
        "WAIT tasks[0].lastStatus / RUNNING",
        "has to be a list, and is a string",
    ),
    (23, ERROR, "WAIT tasks[0].lastStatus / []", "no values"),
    (
        24,
        ERROR,
        "WAIT tasks[0].enableExecuteCommand / ['true']",
        "write 'True'",
    ),
    (
        24,
        ERROR,
        "WAIT tasks[0].containers[0].exitCode / ['00']",
        "can never be 00",
    ),
    (24, WARNING, "WAIT tasks / ['x']", "only [] makes sense"),
    (24, ERROR, "WAIT tasks[0] / ['x']", "a map is never equal"),
    (
        24,
        WARNING,
        "WAIT tasks[0].healthStatus / [healthy]",
        "case counts, and the model writes HEALTHY",
    ),
    (
        25,
        WARNING,
        "WAIT tasks[0].containers[0].exitCode / [0]",
        "write '0'",
    ),
    (
        26,
        WARNING,
        "WAIT tasks[0].containers[0].exitCode / ['0']",
        "runs into its timeout",
    ),
    (
        30,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecss, Api: RunTask}}",
        "did you mean ecs?",
    ),
    (
        30,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: elasticloadbalancing, Api: DescribeTags}}",
        "one of elb, elbv2",
    ),
    (
        30,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: RunTasks}}",
        "did you mean RunTask?",
    ),
    (
        31,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: RunTask, taskDefinition: t, Cluster: c}}",
        "did you mean cluster?",
    ),
    (
        31,
        WARNING,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: rds, Api: CopyDBSnapshot, SourceDBSnapshotIdentifier: 'arn:a', TargetDBSnapshotIdentifier: b, SourceRegion: eu-west-1}}",
        "the SDKs make a PreSignedUrl of it",
    ),
    (
        31,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: RunTask}}",
        "RunTask needs taskDefinition",
    ),
    (
        31,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: RunTask, taskDefinition: t, networkConfiguration: {awsvpcConfiguration: {subnet: [x]}}}}",
        "did you mean subnets?",
    ),
    (
        31,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: RunTask, taskDefinition: [t]}}",
        "write the one value",
    ),
    (
        32,
        ERROR,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: s3, Api: GetObject, Bucket: b, Key: k}}",
        "GetObject streams",
    ),
    (
        33,
        WARNING,
        "WAIT tasks[0].lastStats / [x]",
        "did you mean lastStatus?",
    ),
    (
        33,
        WARNING,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: RunTask, taskDefinition: t}, outputs: [{Name: x, Selector: $.tasks.taskArn, Type: String}]}",
        "x will have no value",
    ),
    (34, ERROR, "WAIT 'tasks[0:1]' / [x]", "slices"),
    (
        40,
        WARNING,
        "- {name: a, action: 'aws:executeAwsApi', inputs: {Service: ecs, Api: RunTask, taskDefinition: t}, outputs: [{Name: x, Selector: '$.tasks[0]', Type: Integer}]}",
        "declare Type: StringMap",
    ),
    (
        40,
        ERROR,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}, outputs: [{Name: x, Selector: $.StatusCode, Type: Integer}]}",
        "StringEquals: '200'",
    ),
    (
        41,
        ERROR,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\noutputs: [b.x]",
        "there is no step b",
    ),
    (
        41,
        WARNING,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\noutputs: [a.x]",
        "has no output x",
    ),
    (
        50,
        WARNING,
        "- {name: a, action: 'aws:executeScript', inputs: {Runtime: python3.11, Handler: h, Script: 'x = \"{{ P }}\"'}}",
        "hand it over in InputPayload",
    ),
    (
        51,
        WARNING,
        "- {name: a, action: 'aws:executeScript', inputs: {Runtime: python3.11, Handler: h, Script: x}}",
        "no AWS credentials",
    ),
    (
        60,
        WARNING,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}, isCritical: false}",
        "ends as Success",
    ),
    (
        60,
        WARNING,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}, isCritical: true, onFailure: Continue}",
        "still ends as Failed",
    ),
    (
        60,
        WARNING,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}, isEnd: true, onFailure: 'step:b'}\n- {name: b, action: 'aws:sleep', inputs: {Duration: PT1S}}",
        "even if b succeeds",
    ),
    (
        61,
        WARNING,
        "- {name: a, action: 'aws:invokeLambdaFunction', timeoutSeconds: 900, inputs: {FunctionName: f}}",
        "after 300 seconds",
    ),
    (
        62,
        NOTE,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}, onFailure: 'step:c'}\n- {name: b, action: 'aws:sleep', inputs: {Duration: PT1S}}\n- {name: c, action: 'aws:sleep', inputs: {Duration: PT1S}}",
        "give b isEnd",
    ),
    (
        63,
        WARNING,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f}, isEnd: true, onFailure: 'step:b'}\n- {name: b, action: 'aws:sleep', inputs: {Duration: PT1S}}",
        "isEnd does not end the run",
    ),
    (
        64,
        WARNING,
        "- {name: a, action: 'aws:invokeLambdaFunction', inputs: {FunctionName: f, Payload: '{\"a\": \"{{ P }}\"}'}}",
        "InputPayload",
    ),
    (
        65,
        WARNING,
        "- {name: a, action: 'aws:sleep', inputs: {Duration: PT1S}}\nemergencyChange: true",
        "no effect",
    ),
    (
        66,
        WARNING,
        "PARAMETERS {P: {type: Integer, default: 1, minValue: 0}}",
        "not documented",
    ),
    (
        70,
        WARNING,
        "- {name: a, action: 'aws:executeScript', inputs: {Runtime: 'PowerShell 7.4', Script: x}}",
        "PowerShell scripts do not run locally",
    ),
    (
        70,
        WARNING,
        "- {name: a, action: 'aws:executeAutomation', inputs: {DocumentName: d, TargetLocations: [{Accounts: ['1']}]}}",
        "only the service starts executions in several places",
    ),
];

fn document(body: &str) -> String {
    let head = "schemaVersion: '0.3'\n";
    let variables = "variables: {v: {type: String, default: x}}\n";
    if let Some(parameters) = body.strip_prefix("PARAMETERS ") {
        return format!(
            "{head}parameters: {parameters}\nmainSteps:\n- {{name: a, action: 'aws:sleep', inputs: {{Duration: PT1S}}}}\n"
        );
    }
    let steps = match body
        .strip_prefix("WAIT ")
        .and_then(|it| it.split_once(" / "))
    {
        Some((selector, values)) => format!(
            "- name: a\n  action: aws:waitForAwsResourceProperty\n  inputs:\n    Service: ecs\n    Api: DescribeTasks\n    tasks: [t]\n    PropertySelector: {selector}\n    DesiredValues: {values}\n"
        ),
        None => body.to_owned(),
    };
    format!(
        "{head}{variables}parameters: {{P: {{type: String, default: PT1S}}, N: {{type: Integer, default: 3}}, B: {{type: Boolean, default: true}}}}\nmainSteps:\n{steps}\n"
    )
}

#[test]
fn each_rule_finds_what_breaks_it() {
    let mut wrong = Vec::new();
    for (code, severity, body, said) in CASES {
        let text = document(body);
        let report = check(&text);
        let code = Code::parse(&format!("RB{code:03}")).expect("a rule");
        let found = report.findings.iter().any(|it| {
            let words = format!(
                "{} {}",
                it.message,
                it.suggestion.as_deref().unwrap_or_default()
            );
            it.code == code && it.severity == *severity && words.contains(said)
        });
        if !found {
            let shown: Vec<String> = report
                .findings
                .iter()
                .map(|it| {
                    format!(
                        "{} {} {} [{}]",
                        it.severity,
                        it.code,
                        it.message,
                        it.suggestion.as_deref().unwrap_or_default()
                    )
                })
                .collect();
            wrong.push(format!("{code} {said:?} in\n{text}{}", shown.join("\n")));
        }
        // A rule that is broken on purpose breaks no other: errors have no company.
        if *severity != ERROR && report.has_errors() {
            wrong.push(format!(
                "{code} comes with errors in\n{text}{:?}",
                report.findings
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn every_rule_is_explained_and_tested() {
    for code in Code::all() {
        assert!(
            code.title().len() > 10 && code.explanation().ends_with('.'),
            "{code}"
        );
        let tested = CASES
            .iter()
            .any(|case| format!("RB{:03}", case.0) == code.to_string());
        assert!(tested, "{code} has no case");
    }
}
