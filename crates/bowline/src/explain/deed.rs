//! What verbs do, and the calls of each deed: the one table. Resource types and condition keys are those of AWS's
//! service authorization reference.

use serde_json::{Value, json};

use super::automation::Automation;
use super::{Call, Explanation, Place, When, Who};
use crate::record::Destination;

/// Something that verbs do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Deed {
    /// Find a container or tasks.
    Resolve,
    /// Walk through everything there is, for the picker or several targets.
    Inventory,
    /// A session by ECS ExecuteCommand.
    Exec,
    /// A session of the account's own shell, or a document, by SSM StartSession.
    SsmSession {
        /// The document; `None` for the account's own.
        document: Option<&'static str>,
    },
    /// Sessions that lead ports to a task, or to hosts behind it.
    Forward,
    /// Start a task and see it through.
    RunTask {
        /// The definition's family, if that is known.
        family: Option<String>,
        /// It gets tags.
        tags: bool,
        /// Its end is waited for.
        follows: bool,
    },
    /// Read what containers write.
    Logs {
        /// Through Live Tail.
        live: bool,
    },
    /// Read the logs of exec sessions.
    ExecLogs,
    /// Follow tasks to their end.
    Watch,
    /// Stop a task.
    StopTask,
    /// Look at a service and its events.
    Service,
    /// Change or restart a service.
    UpdateService,
    /// Describe something in full.
    Describe(Described),
    /// List something.
    List(Listed),
    /// Look for why a container cannot be entered.
    Doctor {
        /// And mend it.
        fix: bool,
    },
    /// Find databases and caches.
    Stores {
        /// Databases.
        rds: bool,
        /// Caches.
        elasticache: bool,
    },
    /// Look a parameter up.
    Parameter(String),
    /// Look a secret up.
    Secret(String),
    /// Ask who is calling.
    Caller,
    /// Count the sessions of a container.
    CountSessions,
    /// Copy recordings.
    Copy(Destination),
    /// Become a role.
    AssumeRole(String),
    /// Find the accounts of the organization.
    Accounts {
        /// Each time, and not only for names that the configuration does not have.
        all: bool,
    },
    /// Find the regions of the account.
    Regions,
    /// Let the service run runbooks.
    Automation(Automation),
    /// Hand a role to Systems Manager, which runs a runbook with it.
    PassAutomationRole,
    /// A call of a runbook.
    Api {
        /// As runbooks name the service.
        service: String,
        /// As runbooks name the operation.
        operation: String,
    },
}

/// What can be described in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are ECS's own")]
pub enum Described {
    Cluster,
    Service,
    Task,
    Family,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are ECS's own")]
pub enum Listed {
    Clusters,
    Services,
    Tasks,
}

/// The calls of some deeds.
#[must_use]
pub fn explain(deeds: &[Deed], place: &Place) -> Explanation {
    let mut table = Table {
        place,
        calls: Vec::new(),
    };
    for deed in deeds {
        table.deed(deed);
    }
    Explanation { calls: table.calls }
}

pub(super) struct Table<'p> {
    pub(super) place: &'p Place,
    calls: Vec<Call>,
}

/// What a call is made on.
pub(super) enum On {
    /// The action has no resources.
    All,
    /// The action has no resources of its own, but can be bound to the cluster.
    InCluster,
    /// These, in the cluster.
    Of(String),
    /// These, wherever they are.
    Plain(Vec<String>),
    /// These, with a condition.
    With(Vec<String>, Value),
}

impl Table<'_> {
    fn deed(&mut self, deed: &Deed) {
        use When::{Always, Free, If, Optional};
        let place = self.place;
        match deed {
            Deed::Resolve => self.resolve(),
            Deed::Inventory => {
                self.add("ecs:ListClusters", Always, "what there is", On::All);
                self.add(
                    "ecs:DescribeClusters",
                    Always,
                    "what there is",
                    On::Plain(vec![place.cluster()]),
                );
                self.add("ecs:ListServices", Always, "what there is", On::InCluster);
                self.add(
                    "ecs:DescribeServices",
                    Always,
                    "what there is",
                    On::Of(place.services()),
                );
                self.add("ecs:ListTasks", Always, "what there is", On::InCluster);
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "what there is",
                    On::Of(place.tasks()),
                );
            }
            Deed::Exec => {
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "whether the exec agent is ready",
                    On::Of(place.tasks()),
                );
                let mut condition = in_cluster(place);
                if let Some(container) = &place.container {
                    condition = merged(
                        condition,
                        json!({ "StringEquals": { "ecs:container-name": container } }),
                    );
                }
                let on = On::With(vec![place.cluster(), place.tasks()], condition);
                self.add("ecs:ExecuteCommand", Always, "starts the session", on);
                self.channel();
                self.agent();
            }
            Deed::SsmSession { document } => {
                let mut on = vec![place.tasks()];
                on.extend(document.map(|name| place.document(name)));
                if document.is_none() {
                    on.push(place.arn("ssm", "document/SSM-SessionManagerRunShell"));
                }
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "whether the exec agent is ready",
                    On::Of(place.tasks()),
                );
                self.add(
                    "ssm:StartSession",
                    Always,
                    "starts the session",
                    On::Plain(on),
                );
                self.channel();
                self.agent();
            }
            Deed::Forward => {
                let documents = [
                    "AWS-StartPortForwardingSession",
                    "AWS-StartPortForwardingSessionToRemoteHost",
                ];
                let on = [place.tasks()]
                    .into_iter()
                    .chain(documents.map(|name| place.document(name)));
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "whether the exec agent is ready",
                    On::Of(place.tasks()),
                );
                self.add(
                    "ssm:StartSession",
                    Always,
                    "starts a session for each forward",
                    On::Plain(on.collect()),
                );
                self.add(
                    "ecs:ListTasks",
                    If,
                    "a replaced task is followed",
                    On::InCluster,
                );
                self.channel();
                self.agent();
            }
            Deed::RunTask {
                family,
                tags,
                follows,
            } => self.run_task(family.as_deref(), *tags, *follows),
            Deed::Logs { live } => {
                self.add(
                    "ecs:DescribeTaskDefinition",
                    Always,
                    "where the containers log",
                    On::All,
                );
                self.read_logs(Always);
                let group = On::Plain(vec![place.arn("logs", "log-group:*")]);
                self.add(
                    "logs:FilterLogEvents",
                    If,
                    "many streams are followed",
                    group,
                );
                if *live {
                    let group = On::Plain(vec![place.arn("logs", "log-group:*")]);
                    self.add("logs:StartLiveTail", Always, "what is new", group);
                }
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "which streams there are",
                    On::Of(place.tasks()),
                );
            }
            Deed::ExecLogs => {
                self.add(
                    "ecs:DescribeClusters",
                    Always,
                    "where sessions are logged",
                    On::Plain(vec![place.cluster()]),
                );
                self.add(
                    "ecs:DescribeTaskDefinition",
                    If,
                    "they go where the container logs",
                    On::All,
                );
                self.add(
                    "ssm:DescribeSessions",
                    Always,
                    "which sessions there were",
                    On::All,
                );
                self.read_logs(Always);
            }
            Deed::Watch => self.watch(),
            Deed::StopTask => {
                self.add("ecs:StopTask", Always, "stops it", On::Of(place.tasks()));
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "what it is",
                    On::Of(place.tasks()),
                );
                self.add(
                    "ecs:DescribeServices",
                    If,
                    "it is of a service",
                    On::Of(place.services()),
                );
                self.add(
                    "ecs:DescribeTaskDefinition",
                    Optional,
                    "how long it has to stop",
                    On::All,
                );
            }
            Deed::Service => {
                if place.cluster.is_none() {
                    self.add(
                        "ecs:ListClusters",
                        Always,
                        "which cluster is meant",
                        On::All,
                    );
                }
                self.add(
                    "ecs:DescribeServices",
                    Always,
                    "what it is",
                    On::Of(place.services()),
                );
                self.add(
                    "ecs:ListServices",
                    If,
                    "none is named, or it is not there",
                    On::InCluster,
                );
            }
            Deed::UpdateService => {
                self.add(
                    "ecs:UpdateService",
                    Always,
                    "changes it",
                    On::Of(place.services()),
                );
                self.add(
                    "ecs:DescribeTaskDefinition",
                    If,
                    "exec is turned on",
                    On::All,
                );
                self.pass_role("exec is turned on, and the definition has roles");
            }
            Deed::Describe(what) => self.describe(*what),
            Deed::List(what) => self.list(*what),
            Deed::Doctor { fix } => self.doctor(*fix),
            Deed::Stores { rds, elasticache } => {
                if *rds {
                    let on = vec![place.arn("rds", "db:*"), place.arn("rds", "cluster:*")];
                    self.add(
                        "rds:DescribeDBInstances",
                        Always,
                        "which databases there are",
                        On::Plain(on.clone()),
                    );
                    self.add(
                        "rds:DescribeDBClusters",
                        Always,
                        "which databases there are",
                        On::Plain(on),
                    );
                }
                if *elasticache {
                    let on = ["cluster:*", "replicationgroup:*", "serverlesscache:*"]
                        .map(|it| place.arn("elasticache", it));
                    for action in [
                        "DescribeCacheClusters",
                        "DescribeReplicationGroups",
                        "DescribeServerlessCaches",
                    ] {
                        let on = On::Plain(on.to_vec());
                        self.add(
                            &format!("elasticache:{action}"),
                            Always,
                            "which caches there are",
                            on,
                        );
                    }
                }
            }
            Deed::Parameter(name) => {
                let name = name.trim_start_matches('/');
                let on = On::Plain(vec![place.arn("ssm", &format!("parameter/{name}"))]);
                self.add("ssm:GetParameter", Always, "looks it up", on);
            }
            Deed::Secret(name) => {
                let on = match name.starts_with("arn:") {
                    true => name.clone(),
                    // Names of secrets have six more characters in their ARNs.
                    false => place.arn("secretsmanager", &format!("secret:{name}-??????")),
                };
                self.add(
                    "secretsmanager:GetSecretValue",
                    Always,
                    "looks it up",
                    On::Plain(vec![on]),
                );
            }
            Deed::Caller => self.add("sts:GetCallerIdentity", Free, "who is calling", On::All),
            Deed::CountSessions => self.add(
                "ssm:DescribeSessions",
                Optional,
                "how many sessions the container has",
                On::All,
            ),
            Deed::Copy(Destination::Logs { group }) => {
                let on = vec![place.arn("logs", &format!("log-group:{group}:log-stream:*"))];
                self.add(
                    "logs:CreateLogStream",
                    Always,
                    "copies recordings",
                    On::Plain(vec![place.arn("logs", &format!("log-group:{group}:*"))]),
                );
                self.add(
                    "logs:PutLogEvents",
                    Always,
                    "copies recordings",
                    On::Plain(on),
                );
            }
            Deed::Copy(Destination::S3 { bucket, prefix }) => {
                let on = format!("arn:{}:s3:::{bucket}/{prefix}*", place.partition());
                self.add(
                    "s3:PutObject",
                    Always,
                    "copies recordings",
                    On::Plain(vec![on]),
                );
            }
            Deed::AssumeRole(role) => {
                let on = match role.starts_with("arn:") {
                    true => role.clone(),
                    false => format!("arn:{}:iam::*:role/{role}", place.partition()),
                };
                self.add(
                    "sts:AssumeRole",
                    Always,
                    "becomes the role",
                    On::Plain(vec![on]),
                );
            }
            Deed::Accounts { all } => {
                let (when, why) = match all {
                    true => (Always, "which accounts there are"),
                    false => (If, "the configuration does not name an account"),
                };
                self.add("organizations:ListAccounts", when, why, On::All);
            }
            Deed::Regions => {
                let why = "which regions there are";
                self.add("ec2:DescribeRegions", Always, why, On::All);
            }
            Deed::Automation(automation) => self.automation(automation),
            Deed::PassAutomationRole => {
                let condition =
                    json!({ "StringEquals": { "iam:PassedToService": "ssm.amazonaws.com" } });
                let on = On::With(vec![self.place.role()], condition);
                self.add("iam:PassRole", If, "the runbook has an assumeRole", on);
            }
            Deed::Api { service, operation } => {
                let action = action(service, operation);
                self.add(&action, If, "a step of the runbook", On::All);
            }
        }
    }

    fn resolve(&mut self) {
        use When::{Always, If, Optional};
        let place = self.place;
        match &place.cluster {
            None => self.add(
                "ecs:ListClusters",
                Always,
                "which cluster is meant",
                On::All,
            ),
            Some(_) => self.add(
                "ecs:ListClusters",
                Optional,
                "to name what there is",
                On::All,
            ),
        }
        self.add("ecs:ListTasks", Always, "finds the target", On::InCluster);
        self.add(
            "ecs:DescribeTasks",
            Always,
            "finds the target",
            On::Of(place.tasks()),
        );
        self.add(
            "ecs:DescribeServices",
            If,
            "the service has no task",
            On::Of(place.services()),
        );
        self.add(
            "ecs:ListServices",
            Optional,
            "to name what there is",
            On::InCluster,
        );
        if place.container.is_none() {
            self.add(
                "ecs:DescribeTaskDefinition",
                Optional,
                "which of several containers is meant",
                On::All,
            );
        }
    }

    /// A data channel, however it was opened.
    fn channel(&mut self) {
        use When::{Always, If, Optional};
        let place = self.place;
        let sessions = vec![place.arn("ssm", "session/*")];
        self.add(
            "ssmmessages:OpenDataChannel",
            Always,
            "connects to the session",
            On::Plain(sessions.clone()),
        );
        self.add(
            "ssm:ResumeSession",
            If,
            "the connection is lost",
            On::Plain(sessions.clone()),
        );
        self.add(
            "ssm:TerminateSession",
            If,
            "the session is left before its end",
            On::Plain(sessions),
        );
        let keys = vec![place.arn("kms", "key/*")];
        self.add(
            "kms:GenerateDataKey",
            If,
            "the sessions are encrypted",
            On::Plain(keys),
        );
        self.add(
            "ssm:DescribeSessions",
            Optional,
            "how many sessions the container has, when one stays silent",
            On::All,
        );
    }

    /// What the agent in the container needs.
    fn agent(&mut self) {
        let messages = [
            "CreateControlChannel",
            "CreateDataChannel",
            "OpenControlChannel",
            "OpenDataChannel",
        ];
        for action in messages {
            let action = format!("ssmmessages:{action}");
            self.add_for(
                Who::TaskRole,
                &action,
                When::Always,
                "the exec agent",
                On::All,
            );
        }
        let place = self.place;
        let keys = On::Plain(vec![place.arn("kms", "key/*")]);
        self.add_for(
            Who::TaskRole,
            "kms:Decrypt",
            When::If,
            "the sessions are encrypted",
            keys,
        );
        let why = "the cluster logs sessions to CloudWatch Logs";
        self.add_for(
            Who::TaskRole,
            "logs:DescribeLogGroups",
            When::If,
            why,
            On::All,
        );
        for action in [
            "logs:CreateLogStream",
            "logs:DescribeLogStreams",
            "logs:PutLogEvents",
        ] {
            let group = On::Plain(vec![place.arn("logs", "log-group:*")]);
            self.add_for(Who::TaskRole, action, When::If, why, group);
        }
        let why = "the cluster logs sessions to S3";
        for action in ["s3:PutObject", "s3:GetEncryptionConfiguration"] {
            let bucket = On::Plain(vec![format!("arn:{}:s3:::*", place.partition())]);
            self.add_for(Who::TaskRole, action, When::If, why, bucket);
        }
    }

    fn run_task(&mut self, family: Option<&str>, tags: bool, follows: bool) {
        use When::{Always, If, Optional};
        let place = self.place;
        if place.cluster.is_none() {
            self.add(
                "ecs:ListClusters",
                Always,
                "which cluster is meant",
                On::All,
            );
        }
        self.add(
            "ecs:DescribeServices",
            If,
            "the task is to be like a service's",
            On::Of(place.services()),
        );
        let why = "which services there are, where none is named";
        self.add(
            "ecs:ListServices",
            if family.is_some() { Optional } else { If },
            why,
            On::InCluster,
        );
        self.add(
            "ecs:DescribeTaskDefinition",
            Always,
            "what is to be run",
            On::All,
        );
        let why = "whether the cluster says where tasks run";
        self.add(
            "ecs:DescribeClusters",
            If,
            why,
            On::Plain(vec![place.cluster()]),
        );
        let definition = place.arn(
            "ecs",
            &format!("task-definition/{}:*", family.unwrap_or("*")),
        );
        self.add("ecs:RunTask", Always, "starts the task", On::Of(definition));
        self.pass_role("the definition has roles");
        if tags {
            let condition = json!({ "StringEquals": { "ecs:CreateAction": "RunTask" } });
            self.add(
                "ecs:TagResource",
                If,
                "the task gets tags, which RunTask checks",
                On::With(vec![place.tasks()], condition),
            );
        }
        if follows {
            self.watch();
        }
    }

    fn pass_role(&mut self, why: &str) {
        let condition =
            json!({ "StringEquals": { "iam:PassedToService": "ecs-tasks.amazonaws.com" } });
        let on = On::With(vec![self.place.role()], condition);
        self.add("iam:PassRole", When::If, why, on);
    }

    fn watch(&mut self) {
        use When::{Always, If};
        let place = self.place;
        self.add(
            "ecs:DescribeTasks",
            Always,
            "follows the task",
            On::Of(place.tasks()),
        );
        self.add(
            "ecs:DescribeTaskDefinition",
            Always,
            "where the containers log",
            On::All,
        );
        self.read_logs(If);
        self.add(
            "ecs:StopTask",
            If,
            "it is interrupted, or its time is up",
            On::Of(place.tasks()),
        );
    }

    fn read_logs(&mut self, when: When) {
        let group = self.place.arn("logs", "log-group:*");
        self.add(
            "logs:GetLogEvents",
            when,
            "what the containers write",
            On::Plain(vec![group]),
        );
    }

    fn describe(&mut self, what: Described) {
        use When::{Always, If, Optional};
        let place = self.place;
        if place.cluster.is_none() && what != Described::Family {
            self.add(
                "ecs:ListClusters",
                Always,
                "which cluster is meant",
                On::All,
            );
        }
        match what {
            Described::Cluster => {
                self.add(
                    "ecs:DescribeClusters",
                    Always,
                    "what it is",
                    On::Plain(vec![place.cluster()]),
                );
                self.add(
                    "ecs:ListClusters",
                    Optional,
                    "to name what there is",
                    On::All,
                );
            }
            Described::Service => {
                self.add(
                    "ecs:DescribeServices",
                    Always,
                    "what it is",
                    On::Of(place.services()),
                );
                self.add("ecs:ListServices", If, "none is named", On::InCluster);
                self.add("ecs:ListTasks", Always, "its tasks", On::InCluster);
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "its tasks",
                    On::Of(place.tasks()),
                );
                self.add(
                    "ecs:DescribeTaskDefinition",
                    Optional,
                    "its definition",
                    On::All,
                );
            }
            Described::Task => {
                self.resolve();
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "what it is",
                    On::Of(place.tasks()),
                );
                self.add(
                    "ecs:DescribeTaskDefinition",
                    Optional,
                    "its definition",
                    On::All,
                );
            }
            Described::Family => {
                self.add("ecs:DescribeTaskDefinition", Always, "what it is", On::All);
            }
        }
    }

    fn list(&mut self, what: Listed) {
        use When::{Always, If, Optional};
        let place = self.place;
        if what == Listed::Clusters || place.cluster.is_none() {
            self.add(
                "ecs:ListClusters",
                Always,
                "which clusters there are",
                On::All,
            );
        } else {
            self.add(
                "ecs:ListClusters",
                Optional,
                "to name what there is",
                On::All,
            );
        }
        match what {
            Listed::Clusters => {
                self.add(
                    "ecs:DescribeClusters",
                    Always,
                    "what they are",
                    On::Plain(vec![place.cluster()]),
                );
            }
            Listed::Services => {
                self.add("ecs:ListServices", If, "none is named", On::InCluster);
                self.add(
                    "ecs:DescribeServices",
                    Always,
                    "what they are",
                    On::Of(place.services()),
                );
            }
            Listed::Tasks => {
                self.add(
                    "ecs:ListTasks",
                    Always,
                    "which tasks there are",
                    On::InCluster,
                );
                self.add(
                    "ecs:DescribeTasks",
                    Always,
                    "what they are",
                    On::Of(place.tasks()),
                );
                self.add(
                    "ecs:DescribeServices",
                    If,
                    "a service has no task",
                    On::Of(place.services()),
                );
            }
        }
    }

    /// All of its looks are tried, and what may not be looked at is unknown.
    fn doctor(&mut self, fix: bool) {
        use When::{Always, If, Optional};
        let place = self.place;
        self.resolve();
        self.add("ecs:DescribeTasks", Always, "looks", On::Of(place.tasks()));
        self.add("ecs:DescribeTaskDefinition", Always, "looks", On::All);
        self.add(
            "ecs:DescribeClusters",
            Always,
            "looks",
            On::Plain(vec![place.cluster()]),
        );
        self.add(
            "ecs:DescribeServices",
            Always,
            "looks",
            On::Of(place.services()),
        );
        self.add(
            "ecs:DescribeContainerInstances",
            Optional,
            "looks",
            On::InCluster,
        );
        self.add("ssm:DescribeSessions", Always, "looks", On::All);
        self.add("sts:GetCallerIdentity", When::Free, "looks", On::All);
        let roles = vec![place.role(), place.role().replace(":role/", ":user/")];
        let why = "whether the roles may do what they must";
        self.add("iam:SimulatePrincipalPolicy", Always, why, On::Plain(roles));
        let role = On::Plain(vec![place.role()]);
        self.add(
            "iam:GetRole",
            If,
            "a role may not be assumed, or has a path",
            role,
        );
        let network = [
            "DescribeNetworkInterfaces",
            "DescribeRouteTables",
            "DescribeSecurityGroups",
            "DescribeSubnets",
            "DescribeVpcEndpoints",
        ];
        for action in network {
            let why = "whether the agent reaches the service";
            self.add(&format!("ec2:{action}"), Always, why, On::All);
        }
        if !fix {
            return;
        }
        self.add(
            "ecs:UpdateService",
            If,
            "the change asks for it",
            On::Of(place.services()),
        );
        self.add(
            "ecs:RegisterTaskDefinition",
            If,
            "the change asks for it",
            On::All,
        );
        self.add(
            "ecs:UpdateContainerAgent",
            If,
            "the change asks for it",
            On::InCluster,
        );
        self.pass_role("a definition or service is changed");
        for action in ["CreateRole", "PutRolePolicy"] {
            self.add(
                &format!("iam:{action}"),
                If,
                "the change asks for it",
                On::Plain(vec![place.role()]),
            );
        }
        for action in [
            "AuthorizeSecurityGroupIngress",
            "AuthorizeSecurityGroupEgress",
        ] {
            let on = On::Plain(vec![place.arn("ec2", "security-group/*")]);
            self.add(&format!("ec2:{action}"), If, "the change asks for it", on);
        }
        let endpoints = || place.arn("ec2", "vpc-endpoint/*");
        let around = ["vpc", "subnet", "security-group", "route-table"];
        let around = around.map(|kind| place.arn("ec2", &format!("{kind}/*")));
        let created = around.into_iter().chain([endpoints()]).collect();
        for (action, on) in [
            ("CreateVpcEndpoint", created),
            ("ModifyVpcEndpoint", vec![endpoints()]),
        ] {
            let on = On::Plain(on);
            self.add(&format!("ec2:{action}"), If, "the change asks for it", on);
        }
        let sessions = vec![place.arn("ssm", "session/*")];
        self.add(
            "ssm:TerminateSession",
            If,
            "the change asks for it",
            On::Plain(sessions),
        );
    }

    pub(super) fn add(&mut self, action: &str, when: When, why: &str, on: On) {
        self.add_for(Who::Caller, action, when, why, on);
    }

    /// Adds a call, or makes one that is there more needed.
    fn add_for(&mut self, who: Who, action: &str, when: When, why: &str, on: On) {
        let cluster = || in_cluster(self.place);
        let (resources, condition) = match on {
            On::All => (vec!["*".to_owned()], Value::Null),
            On::InCluster => (vec!["*".to_owned()], cluster()),
            On::Of(resource) => (vec![resource], cluster()),
            On::Plain(resources) => (resources, Value::Null),
            On::With(resources, condition) => (resources, condition),
        };
        let known = self
            .calls
            .iter_mut()
            .find(|call| call.who == who && call.action == action && call.condition == condition);
        match known {
            Some(known) => {
                if rank(when) < rank(known.when) {
                    known.when = when;
                    known.why = why.to_owned();
                }
                for resource in resources {
                    if !known.resources.contains(&resource) {
                        known.resources.push(resource);
                    }
                }
            }
            None => self.calls.push(Call {
                action: action.to_owned(),
                who,
                when,
                why: why.to_owned(),
                resources,
                condition,
            }),
        }
    }
}

/// The action of an API's operation. Nearly all have the operation's name.
fn action(service: &str, operation: &str) -> String {
    let known = bowline_services::find(service).ok();
    let known = known.and_then(|service| Some(service.operation(operation)?.name.clone()));
    let operation = known.as_deref().unwrap_or(operation);
    let service = service.to_ascii_lowercase();
    match (service.as_str(), operation) {
        ("lambda", "Invoke") => "lambda:InvokeFunction".to_owned(),
        ("s3", "ListObjects" | "ListObjectsV2" | "HeadBucket") => "s3:ListBucket".to_owned(),
        ("s3", "HeadObject") => "s3:GetObject".to_owned(),
        ("stepfunctions" | "sfn", operation) => format!("states:{operation}"),
        ("elb" | "elbv2", operation) => format!("elasticloadbalancing:{operation}"),
        (service, operation) => format!("{service}:{operation}"),
    }
}

fn rank(when: When) -> u8 {
    match when {
        When::Always => 0,
        When::If => 1,
        When::Optional => 2,
        When::Free => 3,
    }
}

/// The condition that binds an action to the cluster, if that is known.
fn in_cluster(place: &Place) -> Value {
    match &place.cluster {
        // An account that is not known is a pattern.
        Some(_) => json!({ "ArnLike": { "ecs:cluster": place.cluster() } }),
        None => Value::Null,
    }
}

fn merged(one: Value, other: Value) -> Value {
    match (one, other) {
        (Value::Object(mut one), Value::Object(other)) => {
            one.extend(other);
            Value::Object(one)
        }
        (_, other) => other,
    }
}
