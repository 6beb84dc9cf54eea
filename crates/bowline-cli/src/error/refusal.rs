//! What AWS's refusals mean, and what to do now: a text and a next step for each.
//!
//! Texts of AWS are matched by their beginning or by a part that does not change; most of an error is its code.

/// What a refusal means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// In front of AWS's own words.
    pub(super) text: &'static str,
    /// The next step.
    pub(super) hint: String,
}

/// Explains an answer; `None` for one that speaks for itself.
pub(super) fn explain(operation: &str, code: &str, message: &str) -> Option<Refusal> {
    if code == "AccessDeniedException" || code == "AccessDenied" {
        return Some(access_denied(operation, message));
    }
    let rule = RULES.iter().find(|rule| {
        rule.codes.contains(&code)
            && operation.starts_with(rule.operation)
            && message.contains(rule.part)
    })?;
    Some(Refusal {
        text: rule.text,
        hint: rule.hint.to_owned(),
    })
}

/// The words of IAM name the action that is missing, which is not always the call that was made.
fn access_denied(operation: &str, message: &str) -> Refusal {
    let word_after = |mark: &str| {
        let rest = message.split_once(mark)?.1;
        let word = rest.split_whitespace().next()?;
        Some(word.trim_end_matches(['.', ',']).to_owned())
    };
    let action = word_after("to perform: ").unwrap_or_else(|| operation.to_owned());
    let resource = word_after("on resource: ").filter(|resource| resource != "*");
    let on = resource.map_or_else(String::new, |resource| format!(" on {resource}"));
    let by_whom = match message.contains("explicit deny") {
        true => "; a policy denies it explicitly, and allowing it elsewhere does not help",
        false => "",
    };
    if action == "iam:PassRole" {
        return Refusal {
            text: "the caller may not give the task its role",
            hint: format!(
                "the caller needs the permission iam:PassRole{on}, for the task role and the execution role{by_whom}"
            ),
        };
    }
    Refusal {
        text: "the caller is not allowed to do this",
        hint: format!("the caller needs the permission {action}{on}{by_whom}"),
    }
}

struct Rule {
    codes: &'static [&'static str],
    /// How the operation begins.
    operation: &'static str,
    /// What the message contains.
    part: &'static str,
    text: &'static str,
    hint: &'static str,
}

const fn rule(
    codes: &'static [&'static str],
    operation: &'static str,
    part: &'static str,
    text: &'static str,
    hint: &'static str,
) -> Rule {
    Rule {
        codes,
        operation,
        part,
        text,
        hint,
    }
}

const INVALID: &[&str] = &["InvalidParameterException"];
const CLIENT: &[&str] = &["ClientException"];

/// The first that fits counts, so the general ones come last.
const RULES: &[Rule] = &[
    rule(
        &["ClusterNotFoundException"],
        "",
        "",
        "the cluster does not exist in this account and region",
        "`bowline ls clusters` shows those there are; check --cluster, --region and --profile",
    ),
    rule(
        &["ServiceNotFoundException"],
        "",
        "",
        "the cluster has no such service",
        "`bowline ls services` shows those there are",
    ),
    rule(
        &["ServiceNotActiveException"],
        "",
        "",
        "the service is being deleted, or was",
        "create it again, or choose another one",
    ),
    rule(
        INVALID,
        "",
        "Tasks cannot be empty",
        "no task was named",
        "name a task; `bowline ls tasks` shows those there are",
    ),
    rule(
        INVALID,
        "",
        "referenced task was not found",
        "the cluster has no such task, or has forgotten it",
        "`bowline ls tasks` shows what runs; a task is forgotten about an hour after its end",
    ),
    rule(
        INVALID,
        "ecs:RunTask",
        "Network Configuration must be provided",
        "the task definition needs a network, and none was given",
        "take a service's with --like, or name --subnets and --security-groups",
    ),
    rule(
        INVALID,
        "ecs:RunTask",
        "not both",
        "a launch type and capacity providers exclude each other",
        "give only one of --launch-type and --capacity-provider",
    ),
    rule(
        INVALID,
        "ecs:RunTask",
        "Override for container",
        "an override names a container that the task definition does not have",
        "check the names in --overrides and --container",
    ),
    rule(
        INVALID,
        "ecs:RunTask",
        "No Container Instances",
        "the cluster has no EC2 instances to run the task on",
        "use --launch-type fargate if the definition allows it, or register instances",
    ),
    rule(
        INVALID,
        "ecs:RunTask",
        "ecurity group",
        "a security group does not fit the subnets",
        "take both from one VPC: --security-groups and --subnets",
    ),
    rule(
        INVALID,
        "ecs:RunTask",
        "",
        "ECS does not accept the request as it is",
        "`--dry-run` shows the request; compare it with the task definition",
    ),
    rule(
        CLIENT,
        "",
        "lock",
        "AWS has blocked this account for new tasks",
        "new or suspended accounts are blocked; AWS Support lifts it",
    ),
    rule(
        CLIENT,
        "",
        "inactive",
        "this revision of the task definition was deregistered",
        "leave out the revision for the newest one, or register it again",
    ),
    rule(
        CLIENT,
        "",
        "ask definition",
        "there is no such task definition",
        "check family, revision and region; families are named in `aws ecs list-task-definition-families`",
    ),
    rule(
        CLIENT,
        "",
        "askDefinition",
        "there is no such task definition",
        "check family, revision and region; families are named in `aws ecs list-task-definition-families`",
    ),
    rule(
        CLIENT,
        "",
        "",
        "ECS cannot do this as things are",
        "AWS's words say what is in the way; `--dry-run` shows the request",
    ),
    rule(
        &["PlatformUnknownException"],
        "",
        "",
        "there is no such Fargate platform version",
        "name another one with --platform-version, or update the service it was taken from to LATEST",
    ),
    rule(
        &["PlatformTaskDefinitionIncompatibilityException"],
        "",
        "",
        "the Fargate platform version lacks something that the task definition needs",
        "EFS, more disk, ARM and others need 1.4.0 or later: --platform-version LATEST, or update the service it was taken from",
    ),
    rule(
        &["BlockedException"],
        "",
        "",
        "AWS has blocked this account for new tasks",
        "new or suspended accounts are blocked; AWS Support lifts it",
    ),
    rule(
        &["UnsupportedFeatureException"],
        "",
        "",
        "this region does not have a feature that the task needs",
        "use another region, or leave the feature out of the task definition",
    ),
    rule(
        &["ConflictException"],
        "",
        "",
        "the client token belongs to another request",
        "use a new token for a new request, or leave out --client-token",
    ),
    rule(
        &[
            "ThrottlingException",
            "Throttling",
            "TooManyRequestsException",
            "RequestLimitExceeded",
        ],
        "",
        "",
        "AWS's rate limit was reached, and several attempts did not help",
        "try again in a minute; the limit is the account's, and others use it too",
    ),
    rule(
        &["ExpiredTokenException", "ExpiredToken"],
        "",
        "",
        "the credentials have expired",
        "sign in again (`aws sso login`, `aws login`), or fetch new ones",
    ),
    rule(
        &[
            "ServerException",
            "InternalServerError",
            "InternalFailure",
            "ServiceUnavailable",
        ],
        "",
        "",
        "AWS has a problem of its own, and several attempts did not help",
        "try again in some minutes; if it stays, see the AWS Health Dashboard and give Support the request id",
    ),
    rule(
        &["TargetNotConnected"],
        "",
        "",
        "Systems Manager has no connection to this container",
        "check region, account and task; if they are right, its exec agent cannot reach AWS",
    ),
    rule(
        &["InvalidDocument"],
        "",
        "",
        "Systems Manager has no such document here",
        "check its name and region",
    ),
    rule(
        &["DoesNotExistException"],
        "",
        "",
        "the session has ended",
        "start a new one",
    ),
    rule(
        &["AutomationDefinitionNotFoundException"],
        "",
        "",
        "there is no such runbook",
        "check its name, owner and region",
    ),
    rule(
        &["AutomationDefinitionVersionNotFoundException"],
        "",
        "",
        "the runbook has no such version",
        "leave out the version for the default one",
    ),
    rule(
        &["InvalidAutomationExecutionParametersException"],
        "",
        "",
        "the runbook does not take these parameters",
        "compare them with the runbook's own",
    ),
    rule(
        &["AutomationExecutionLimitExceededException"],
        "",
        "",
        "too many runbooks run at the moment",
        "try again when others have ended",
    ),
    rule(
        &["IdempotentParameterMismatch"],
        "",
        "",
        "the client token belongs to another request",
        "use a new token for a new request",
    ),
    rule(
        &["AutomationExecutionNotFoundException"],
        "",
        "",
        "there is no such run of a runbook",
        "check id and region; one that was just started is known after some seconds",
    ),
    rule(
        &["ResourceNotFoundException"],
        "logs:",
        "log group",
        "the log group does not exist in this region",
        "nothing was logged yet, or the group was deleted; the log driver makes it only with awslogs-create-group",
    ),
    rule(
        &["ResourceNotFoundException"],
        "logs:",
        "",
        "the log stream does not exist",
        "the container has written nothing yet, or could not log",
    ),
    rule(
        &["LimitExceededException"],
        "logs:StartLiveTail",
        "",
        "too many Live Tail sessions run in this account",
        "leave out --live",
    ),
    rule(
        &["ResourceNotFoundException"],
        "lambda:",
        "",
        "there is no such function",
        "check its name, qualifier and region",
    ),
    rule(
        &["NotFoundException"],
        "kms:",
        "",
        "there is no such key",
        "check the key of the cluster's exec configuration, and its region",
    ),
    rule(
        &["DisabledException"],
        "kms:",
        "",
        "the key is disabled",
        "enable it, or let the cluster use another key",
    ),
    rule(
        &["KMSInvalidStateException"],
        "kms:",
        "",
        "the key cannot be used in its present state",
        "a key that waits for its deletion can be saved with CancelKeyDeletion",
    ),
    rule(
        &["InvalidCiphertextException"],
        "kms:",
        "",
        "the key does not open this",
        "both ends have to use the same key and encryption context",
    ),
];

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// Every error of the table, read as prose.
    #[test]
    fn each_refusal_has_a_text_and_a_next_step() {
        const DENIED: &str = "User: arn:aws:iam::1:user/u is not authorized to perform: ecs:RunTask on resource: \
            arn:aws:ecs:r:1:task-definition/job:1 because no identity-based policy allows the ecs:RunTask action";
        const PASS: &str = "User: arn:aws:iam::1:user/u is not authorized to perform: iam:PassRole on resource: \
            arn:aws:iam::1:role/task with an explicit deny in a service control policy";
        let cases = [
            (
                "ecs:RunTask",
                "ClusterNotFoundException",
                "Cluster not found.",
            ),
            (
                "ecs:ListTasks",
                "ServiceNotFoundException",
                "Service not found.",
            ),
            (
                "ecs:UpdateService",
                "ServiceNotActiveException",
                "Service was not ACTIVE.",
            ),
            (
                "ecs:DescribeTasks",
                "InvalidParameterException",
                "Tasks cannot be empty.",
            ),
            (
                "ecs:StopTask",
                "InvalidParameterException",
                "The referenced task was not found.",
            ),
            (
                "ecs:RunTask",
                "InvalidParameterException",
                "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
            ),
            (
                "ecs:RunTask",
                "InvalidParameterException",
                "Specify either Launch Type or Capacity Provider Strategy, but not both.",
            ),
            (
                "ecs:RunTask",
                "InvalidParameterException",
                "Override for container named x is not a container in the TaskDefinition.",
            ),
            (
                "ecs:RunTask",
                "InvalidParameterException",
                "No Container Instances were found in your cluster.",
            ),
            (
                "ecs:RunTask",
                "InvalidParameterException",
                "Security group sg-1 does not appear to belong to the same VPC as the input subnets.",
            ),
            ("ecs:RunTask", "InvalidParameterException", "something else"),
            (
                "ecs:RunTask",
                "ClientException",
                "TaskDefinition not found.",
            ),
            (
                "ecs:DescribeTaskDefinition",
                "ClientException",
                "Unable to describe task definition.",
            ),
            (
                "ecs:RunTask",
                "ClientException",
                "TaskDefinition is inactive",
            ),
            ("ecs:RunTask", "ClientException", "Account is blocked"),
            ("ecs:RunTask", "ClientException", "something else"),
            ("ecs:RunTask", "PlatformUnknownException", ""),
            (
                "ecs:RunTask",
                "PlatformTaskDefinitionIncompatibilityException",
                "",
            ),
            ("ecs:RunTask", "BlockedException", ""),
            ("ecs:RunTask", "UnsupportedFeatureException", ""),
            ("ecs:RunTask", "ConflictException", ""),
            ("ecs:RunTask", "AccessDeniedException", DENIED),
            ("ecs:RunTask", "AccessDeniedException", PASS),
            ("ecs:RunTask", "ThrottlingException", "Rate exceeded"),
            ("ecs:RunTask", "ExpiredTokenException", ""),
            ("ecs:RunTask", "ServerException", ""),
            ("ssm:StartSession", "InternalServerError", ""),
            (
                "ssm:StartSession",
                "TargetNotConnected",
                "x is not connected.",
            ),
            ("ssm:StartSession", "InvalidDocument", ""),
            ("ssm:ResumeSession", "DoesNotExistException", ""),
            (
                "ssm:StartAutomationExecution",
                "AutomationDefinitionNotFoundException",
                "",
            ),
            (
                "ssm:StartAutomationExecution",
                "AutomationDefinitionVersionNotFoundException",
                "",
            ),
            (
                "ssm:StartAutomationExecution",
                "InvalidAutomationExecutionParametersException",
                "",
            ),
            (
                "ssm:StartAutomationExecution",
                "AutomationExecutionLimitExceededException",
                "",
            ),
            (
                "ssm:StartAutomationExecution",
                "IdempotentParameterMismatch",
                "",
            ),
            (
                "ssm:GetAutomationExecution",
                "AutomationExecutionNotFoundException",
                "",
            ),
            (
                "logs:GetLogEvents",
                "ResourceNotFoundException",
                "The specified log group does not exist.",
            ),
            (
                "logs:GetLogEvents",
                "ResourceNotFoundException",
                "The specified log stream does not exist.",
            ),
            ("logs:StartLiveTail", "LimitExceededException", ""),
            (
                "lambda:Invoke",
                "ResourceNotFoundException",
                "Function not found: x",
            ),
            ("kms:GenerateDataKey", "NotFoundException", ""),
            ("kms:GenerateDataKey", "DisabledException", ""),
            ("kms:GenerateDataKey", "KMSInvalidStateException", ""),
            ("kms:Decrypt", "InvalidCiphertextException", ""),
        ];
        let mut prose = String::new();
        for (operation, code, message) in cases {
            let refusal = explain(operation, code, message);
            let refusal = refusal.unwrap_or_else(|| panic!("{operation} {code} {message}"));
            writeln!(prose, "{code}: {}", refusal.text).unwrap();
            writeln!(prose, "    {}", refusal.hint).unwrap();
        }
        insta::assert_snapshot!(prose, @r#"
        ClusterNotFoundException: the cluster does not exist in this account and region
            `bowline ls clusters` shows those there are; check --cluster, --region and --profile
        ServiceNotFoundException: the cluster has no such service
            `bowline ls services` shows those there are
        ServiceNotActiveException: the service is being deleted, or was
            create it again, or choose another one
        InvalidParameterException: no task was named
            name a task; `bowline ls tasks` shows those there are
        InvalidParameterException: the cluster has no such task, or has forgotten it
            `bowline ls tasks` shows what runs; a task is forgotten about an hour after its end
        InvalidParameterException: the task definition needs a network, and none was given
            take a service's with --like, or name --subnets and --security-groups
        InvalidParameterException: a launch type and capacity providers exclude each other
            give only one of --launch-type and --capacity-provider
        InvalidParameterException: an override names a container that the task definition does not have
            check the names in --overrides and --container
        InvalidParameterException: the cluster has no EC2 instances to run the task on
            use --launch-type fargate if the definition allows it, or register instances
        InvalidParameterException: a security group does not fit the subnets
            take both from one VPC: --security-groups and --subnets
        InvalidParameterException: ECS does not accept the request as it is
            `--dry-run` shows the request; compare it with the task definition
        ClientException: there is no such task definition
            check family, revision and region; families are named in `aws ecs list-task-definition-families`
        ClientException: there is no such task definition
            check family, revision and region; families are named in `aws ecs list-task-definition-families`
        ClientException: this revision of the task definition was deregistered
            leave out the revision for the newest one, or register it again
        ClientException: AWS has blocked this account for new tasks
            new or suspended accounts are blocked; AWS Support lifts it
        ClientException: ECS cannot do this as things are
            AWS's words say what is in the way; `--dry-run` shows the request
        PlatformUnknownException: there is no such Fargate platform version
            name another one with --platform-version, or update the service it was taken from to LATEST
        PlatformTaskDefinitionIncompatibilityException: the Fargate platform version lacks something that the task definition needs
            EFS, more disk, ARM and others need 1.4.0 or later: --platform-version LATEST, or update the service it was taken from
        BlockedException: AWS has blocked this account for new tasks
            new or suspended accounts are blocked; AWS Support lifts it
        UnsupportedFeatureException: this region does not have a feature that the task needs
            use another region, or leave the feature out of the task definition
        ConflictException: the client token belongs to another request
            use a new token for a new request, or leave out --client-token
        AccessDeniedException: the caller is not allowed to do this
            the caller needs the permission ecs:RunTask on arn:aws:ecs:r:1:task-definition/job:1
        AccessDeniedException: the caller may not give the task its role
            the caller needs the permission iam:PassRole on arn:aws:iam::1:role/task, for the task role and the execution role; a policy denies it explicitly, and allowing it elsewhere does not help
        ThrottlingException: AWS's rate limit was reached, and several attempts did not help
            try again in a minute; the limit is the account's, and others use it too
        ExpiredTokenException: the credentials have expired
            sign in again (`aws sso login`, `aws login`), or fetch new ones
        ServerException: AWS has a problem of its own, and several attempts did not help
            try again in some minutes; if it stays, see the AWS Health Dashboard and give Support the request id
        InternalServerError: AWS has a problem of its own, and several attempts did not help
            try again in some minutes; if it stays, see the AWS Health Dashboard and give Support the request id
        TargetNotConnected: Systems Manager has no connection to this container
            check region, account and task; if they are right, its exec agent cannot reach AWS
        InvalidDocument: Systems Manager has no such document here
            check its name and region
        DoesNotExistException: the session has ended
            start a new one
        AutomationDefinitionNotFoundException: there is no such runbook
            check its name, owner and region
        AutomationDefinitionVersionNotFoundException: the runbook has no such version
            leave out the version for the default one
        InvalidAutomationExecutionParametersException: the runbook does not take these parameters
            compare them with the runbook's own
        AutomationExecutionLimitExceededException: too many runbooks run at the moment
            try again when others have ended
        IdempotentParameterMismatch: the client token belongs to another request
            use a new token for a new request
        AutomationExecutionNotFoundException: there is no such run of a runbook
            check id and region; one that was just started is known after some seconds
        ResourceNotFoundException: the log group does not exist in this region
            nothing was logged yet, or the group was deleted; the log driver makes it only with awslogs-create-group
        ResourceNotFoundException: the log stream does not exist
            the container has written nothing yet, or could not log
        LimitExceededException: too many Live Tail sessions run in this account
            leave out --live
        ResourceNotFoundException: there is no such function
            check its name, qualifier and region
        NotFoundException: there is no such key
            check the key of the cluster's exec configuration, and its region
        DisabledException: the key is disabled
            enable it, or let the cluster use another key
        KMSInvalidStateException: the key cannot be used in its present state
            a key that waits for its deletion can be saved with CancelKeyDeletion
        InvalidCiphertextException: the key does not open this
            both ends have to use the same key and encryption context
        "#);
        assert_eq!(explain("ecs:RunTask", "SomethingNew", ""), None);
    }
}
