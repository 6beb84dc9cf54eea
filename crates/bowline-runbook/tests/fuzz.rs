//! The fuzz target's body on a stable compiler: documents with some bytes changed, doubled or taken out.

use bowline_runbook::fuzz;
use proptest::prelude::*;

const SEEDS: [&str; 2] = [
    include_str!("../../../examples/runbooks/lambda-task-lambda.yaml"),
    "schemaVersion: '0.3'\nvariables: {v: {type: Integer, default: 1}}\nmainSteps:\n- {name: B, action: 'aws:branch', inputs: {Choices: [{NextStep: U, And: [{Variable: '{{ variable:v }}', NumericGreater: 0}, {Not: {Variable: '{{ B.x }}', StringEquals: a}}]}], Default: B}}\n- {name: U, action: 'aws:updateVariable', inputs: {Name: 'variable:v', Value: 2}, onFailure: 'step:B'}\n- {name: L, action: 'aws:loop', inputs: {Iterators: [a], Steps: [{name: I, action: 'aws:sleep', inputs: {Duration: PT1S}, nextStep: B}]}}\n- {name: W, action: 'aws:waitForAwsResourceProperty', inputs: {Service: ecs, Api: ListClusters, PropertySelector: '$..a[?(@.b == 1)]', DesiredValues: [x]}, onCancel: 'step:U'}\noutputs: [B.x]\n",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_documents(seed in 0..SEEDS.len(), changes in prop::collection::vec((0..4_usize, any::<prop::sample::Index>(), 0..20_usize, any::<u8>()), 1..6)) {
        let mut data = SEEDS[seed].as_bytes().to_vec();
        for (kind, place, length, byte) in changes {
            let at = place.index(data.len().max(1)).min(data.len().saturating_sub(1));
            let end = (at + length).min(data.len());
            match kind {
                0 => data[at] = byte & 0x7f,
                1 => drop(data.drain(at..end)),
                2 => data.extend_from_within(at..end),
                _ => data.insert(at, b"{}[]:'\"-\n #&*!|"[usize::from(byte) % 15]),
            }
        }
        fuzz::document(&data);
    }

    #[test]
    fn noise(text in "[-{}\\[\\]:'\"a-c \n\t&*#|>0-9!%@`,?]{0,200}") {
        fuzz::document(text.as_bytes());
    }
}
