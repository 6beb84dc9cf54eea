//! What each action takes and gives, and for how long it may run.

use std::fmt;

use crate::value::Type::{self, Boolean, Integer, MapList, String as Text, StringList, StringMap};

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each is the action of its name")]
pub enum Action {
    ExecuteAwsApi,
    WaitForAwsResourceProperty,
    AssertAwsResourceProperty,
    InvokeLambdaFunction,
    Sleep,
    Branch,
    ExecuteScript,
    UpdateVariable,
    Pause,
    Approve,
    RunCommand,
    ExecuteAutomation,
    ChangeInstanceState,
    CreateStack,
    DeleteStack,
    Loop,
    CreateImage,
    DeleteImage,
    CreateTags,
    RunInstances,
    ExecuteStateMachine,
    CopyImage,
    InvokeWebhook,
}

/// How far an action is carried out here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// It runs.
    Runs,
    /// Only the service can run it.
    Remote,
}

/// What an input takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// A value of this type.
    One(Type),
    /// A value of one of these types.
    Either(Type, Type),
    /// Anything.
    Any,
}

/// An input of an action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Input {
    pub(crate) name: &'static str,
    pub(crate) takes: Takes,
    pub(crate) required: bool,
}

/// Inputs of executeAutomation by which the service starts executions in several places; only it does.
pub(crate) const FAN_OUT: [&str; 4] = [
    "TargetLocations",
    "TargetMaps",
    "Targets",
    "TargetParameterName",
];

/// Everything about an action.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) inputs: &'static [Input],
    pub(crate) outputs: &'static [(&'static str, Type)],
    /// Seconds, without `timeoutSeconds`; none where it waits for ever.
    pub(crate) default_limit: Option<u64>,
    /// Seconds that the service allows at most.
    pub(crate) longest: Option<u64>,
}

const fn must(name: &'static str, takes: Type) -> Input {
    Input {
        name,
        takes: Takes::One(takes),
        required: true,
    }
}

const fn may(name: &'static str, takes: Type) -> Input {
    Input {
        name,
        takes: Takes::One(takes),
        required: false,
    }
}

const fn any(name: &'static str, required: bool) -> Input {
    Input {
        name,
        takes: Takes::Any,
        required,
    }
}

const fn either(name: &'static str, one: Type, other: Type) -> Input {
    Input {
        name,
        takes: Takes::Either(one, other),
        required: false,
    }
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::ExecuteAwsApi,
        Self::WaitForAwsResourceProperty,
        Self::AssertAwsResourceProperty,
        Self::InvokeLambdaFunction,
        Self::Sleep,
        Self::Branch,
        Self::ExecuteScript,
        Self::UpdateVariable,
        Self::Pause,
        Self::Approve,
        Self::RunCommand,
        Self::ExecuteAutomation,
        Self::ChangeInstanceState,
        Self::CreateStack,
        Self::DeleteStack,
        Self::Loop,
        Self::CreateImage,
        Self::DeleteImage,
        Self::CreateTags,
        Self::RunInstances,
        Self::ExecuteStateMachine,
        Self::CopyImage,
        Self::InvokeWebhook,
    ];

    /// The action that a document names.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }

    /// As documents write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ExecuteAwsApi => "aws:executeAwsApi",
            Self::WaitForAwsResourceProperty => "aws:waitForAwsResourceProperty",
            Self::AssertAwsResourceProperty => "aws:assertAwsResourceProperty",
            Self::InvokeLambdaFunction => "aws:invokeLambdaFunction",
            Self::Sleep => "aws:sleep",
            Self::Branch => "aws:branch",
            Self::ExecuteScript => "aws:executeScript",
            Self::UpdateVariable => "aws:updateVariable",
            Self::Pause => "aws:pause",
            Self::Approve => "aws:approve",
            Self::RunCommand => "aws:runCommand",
            Self::ExecuteAutomation => "aws:executeAutomation",
            Self::ChangeInstanceState => "aws:changeInstanceState",
            Self::CreateStack => "aws:createStack",
            Self::DeleteStack => "aws:deleteStack",
            Self::Loop => "aws:loop",
            Self::CreateImage => "aws:createImage",
            Self::DeleteImage => "aws:deleteImage",
            Self::CreateTags => "aws:createTags",
            Self::RunInstances => "aws:runInstances",
            Self::ExecuteStateMachine => "aws:executeStateMachine",
            Self::CopyImage => "aws:copyImage",
            Self::InvokeWebhook => "aws:invokeWebhook",
        }
    }

    /// How far it is carried out here.
    pub const fn tier(self) -> Tier {
        match self {
            Self::ExecuteAwsApi
            | Self::WaitForAwsResourceProperty
            | Self::AssertAwsResourceProperty
            | Self::InvokeLambdaFunction
            | Self::Sleep
            | Self::Branch
            | Self::ExecuteScript
            | Self::UpdateVariable
            | Self::Pause
            | Self::Approve
            | Self::RunCommand
            | Self::ExecuteAutomation
            | Self::ChangeInstanceState
            | Self::CreateStack
            | Self::DeleteStack
            | Self::Loop
            | Self::CreateImage
            | Self::DeleteImage
            | Self::CreateTags
            | Self::RunInstances
            | Self::ExecuteStateMachine => Tier::Runs,
            Self::CopyImage | Self::InvokeWebhook => Tier::Remote,
        }
    }

    /// Whether it calls an operation that its inputs name.
    pub const fn calls_api(self) -> bool {
        matches!(
            self,
            Self::ExecuteAwsApi
                | Self::WaitForAwsResourceProperty
                | Self::AssertAwsResourceProperty
        )
    }

    /// Whether `onCancel` may lead to it (the service refuses the others).
    pub(crate) const fn may_clean_up(self) -> bool {
        !matches!(
            self,
            Self::Approve
                | Self::CopyImage
                | Self::CreateImage
                | Self::CreateStack
                | Self::CreateTags
                | Self::Pause
                | Self::RunInstances
                | Self::Sleep
        )
    }

    pub(crate) const fn facts(self) -> Facts {
        let (inputs, outputs): (&[Input], &[(&str, Type)]) = match self {
            Self::ExecuteAwsApi => (
                const { &[must("Service", Text), must("Api", Text)] },
                &API_OUTPUTS,
            ),
            Self::WaitForAwsResourceProperty | Self::AssertAwsResourceProperty => {
                (&WAIT_INPUTS, &[])
            }
            Self::InvokeLambdaFunction => (&LAMBDA_INPUTS, &LAMBDA_OUTPUTS),
            Self::Sleep => (
                const { &[may("Duration", Text), may("Timestamp", Text)] },
                &[],
            ),
            Self::Branch => (const { &[any("Choices", true), may("Default", Text)] }, &[]),
            Self::ExecuteScript => (&SCRIPT_INPUTS, &SCRIPT_OUTPUTS),
            Self::UpdateVariable => (const { &[must("Name", Text), any("Value", true)] }, &[]),
            Self::Pause => (const { &[may("Message", Text)] }, &[]),
            Self::Approve => (
                &APPROVE_INPUTS,
                &[("ApprovalStatus", Text), ("ApproverDecisions", MapList)],
            ),
            Self::RunCommand => (&COMMAND_INPUTS, &COMMAND_OUTPUTS),
            Self::ExecuteAutomation => (
                &AUTOMATION_INPUTS,
                &[
                    ("ExecutionId", Text),
                    ("Status", Text),
                    ("Output", StringList),
                ],
            ),
            Self::ChangeInstanceState => (&STATE_INPUTS, &[]),
            Self::CreateStack => (
                &STACK_INPUTS,
                &[
                    ("StackId", Text),
                    ("StackStatus", Text),
                    ("StackStatusReason", Text),
                ],
            ),
            Self::DeleteStack => (
                const {
                    &[
                        must("StackName", Text),
                        may("RoleARN", Text),
                        may("ClientRequestToken", Text),
                        may("RetainResources", StringList),
                    ]
                },
                &[],
            ),
            Self::Loop => (
                &LOOP_INPUTS,
                &[
                    ("CurrentIteration", Integer),
                    ("CurrentIteratorValue", Text),
                ],
            ),
            Self::CreateImage => (&IMAGE_INPUTS, &[("ImageId", Text), ("ImageState", Text)]),
            Self::DeleteImage => (const { &[must("ImageId", Text)] }, &[]),
            Self::CreateTags => (
                const {
                    &[
                        must("ResourceIds", StringList),
                        must("Tags", MapList),
                        may("ResourceType", Text),
                    ]
                },
                &[],
            ),
            Self::RunInstances => (
                &INSTANCES_INPUTS,
                &[("InstanceIds", StringList), ("InstanceStates", StringList)],
            ),
            Self::ExecuteStateMachine => (
                const {
                    &[
                        must("stateMachineArn", Text),
                        may("name", Text),
                        may("input", Text),
                    ]
                },
                &MACHINE_OUTPUTS,
            ),
            Self::CopyImage => (
                const {
                    &[
                        any("SourceImageId", true),
                        any("SourceRegion", true),
                        any("ImageName", true),
                    ]
                },
                &[("ImageId", Text), ("ImageState", Text)],
            ),
            Self::InvokeWebhook => (
                const { &[must("IntegrationName", Text), may("Body", Text)] },
                &[("Response", Text), ("ResponseCode", Text)],
            ),
        };
        let (default_limit, longest) = match self {
            Self::ExecuteAwsApi => (Some(25), Some(25)),
            Self::InvokeLambdaFunction => (Some(300), Some(300)),
            Self::ExecuteScript => (Some(600), Some(600)),
            Self::Approve => (Some(604_800), Some(2_592_000)),
            Self::Sleep | Self::Pause | Self::Branch | Self::UpdateVariable => (None, None),
            _ => (Some(3600), None),
        };
        Facts {
            inputs,
            outputs,
            default_limit,
            longest,
        }
    }

    /// The type of an output that exists without being declared.
    pub(crate) fn fixed_output(self, name: &str) -> Option<Type> {
        let outputs = self.facts().outputs;
        Some(outputs.iter().find(|(known, _)| *known == name)?.1)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const API_OUTPUTS: [(&str, Type); 2] = [("Output", Text), ("OutputPayload", Text)];
const WAIT_INPUTS: [Input; 4] = [
    must("Service", Text),
    must("Api", Text),
    must("PropertySelector", Text),
    any("DesiredValues", true),
];
const LAMBDA_INPUTS: [Input; 7] = [
    must("FunctionName", Text),
    may("Qualifier", Text),
    may("InvocationType", Text),
    may("LogType", Text),
    may("ClientContext", Text),
    may("InputPayload", StringMap),
    // A map is not documented, and public documents give one.
    either("Payload", Text, StringMap),
];
// StatusCode is a String: the service types it so, and refuses to compare it as a number.
const LAMBDA_OUTPUTS: [(&str, Type); 5] = [
    ("StatusCode", Text),
    ("FunctionError", Text),
    ("LogResult", Text),
    ("Payload", Text),
    ("OutputPayload", Text),
];
const SCRIPT_INPUTS: [Input; 5] = [
    must("Runtime", Text),
    may("Handler", Text),
    any("InputPayload", false),
    may("Script", Text),
    may("Attachment", Text),
];
const SCRIPT_OUTPUTS: [(&str, Type); 3] = [
    ("Payload", StringMap),
    ("Output", Text),
    ("OutputPayload", Text),
];
const APPROVE_INPUTS: [Input; 5] = [
    must("Approvers", StringList),
    may("MinRequiredApprovals", Integer),
    may("Message", Text),
    may("NotificationArn", Text),
    any("EnhancedApprovals", false),
];
const COMMAND_INPUTS: [Input; 13] = [
    must("DocumentName", Text),
    may("InstanceIds", StringList),
    may("Targets", MapList),
    may("Parameters", StringMap),
    may("CloudWatchOutputConfig", StringMap),
    may("NotificationConfig", StringMap),
    may("Comment", Text),
    may("DocumentHash", Text),
    may("DocumentHashType", Text),
    may("OutputS3BucketName", Text),
    may("OutputS3KeyPrefix", Text),
    may("ServiceRoleArn", Text),
    either("TimeoutSeconds", Integer, Text),
];
const COMMAND_OUTPUTS: [(&str, Type); 5] = [
    ("CommandId", Text),
    ("Status", Text),
    ("ResponseCode", Text),
    ("Output", Text),
    ("OutputPayload", Text),
];
const AUTOMATION_INPUTS: [Input; 10] = [
    must("DocumentName", Text),
    may("DocumentVersion", Text),
    may("RuntimeParameters", StringMap),
    may("Tags", MapList),
    may("TargetLocations", MapList),
    may("TargetMaps", MapList),
    may("Targets", MapList),
    may("TargetParameterName", Text),
    either("MaxConcurrency", Text, Integer),
    either("MaxErrors", Text, Integer),
];
const STATE_INPUTS: [Input; 5] = [
    must("InstanceIds", StringList),
    must("DesiredState", Text),
    may("CheckStateOnly", Boolean),
    may("Force", Boolean),
    may("AdditionalInfo", Text),
];
const STACK_INPUTS: [Input; 15] = [
    must("StackName", Text),
    may("TemplateBody", Text),
    may("TemplateURL", Text),
    may("Parameters", MapList),
    may("Capabilities", StringList),
    may("OnFailure", Text),
    may("DisableRollback", Boolean),
    either("TimeoutInMinutes", Integer, Text),
    may("Tags", MapList),
    may("RoleARN", Text),
    may("ClientRequestToken", Text),
    may("StackPolicyBody", Text),
    may("StackPolicyURL", Text),
    may("NotificationARNs", StringList),
    may("ResourceTypes", StringList),
];
const LOOP_INPUTS: [Input; 5] = [
    any("Steps", true),
    any("Iterators", false),
    may("IteratorDataType", Text),
    any("LoopCondition", false),
    may("MaxIterations", Integer),
];
const IMAGE_INPUTS: [Input; 5] = [
    must("InstanceId", Text),
    must("ImageName", Text),
    may("ImageDescription", Text),
    may("NoReboot", Boolean),
    may("BlockDeviceMappings", MapList),
];
const INSTANCES_INPUTS: [Input; 25] = [
    must("ImageId", Text),
    any("InstanceType", false),
    any("MinInstanceCount", false),
    any("MaxInstanceCount", false),
    any("AdditionalInfo", false),
    any("BlockDeviceMappings", false),
    any("ClientToken", false),
    any("DisableApiTermination", false),
    any("EbsOptimized", false),
    any("IamInstanceProfileArn", false),
    any("IamInstanceProfileName", false),
    any("InstanceInitiatedShutdownBehavior", false),
    any("KernelId", false),
    any("KeyName", false),
    any("Monitoring", false),
    any("NetworkInterfaces", false),
    any("Placement", false),
    any("PrivateIpAddress", false),
    any("RamdiskId", false),
    any("SecurityGroupIds", false),
    any("SecurityGroups", false),
    any("SubnetId", false),
    any("TagSpecifications", false),
    any("UserData", false),
    any("MetadataOptions", false),
];
const MACHINE_OUTPUTS: [(&str, Type); 8] = [
    ("executionArn", Text),
    ("input", Text),
    ("name", Text),
    ("output", Text),
    ("startDate", Text),
    ("stateMachineArn", Text),
    ("status", Text),
    ("stopDate", Text),
];
