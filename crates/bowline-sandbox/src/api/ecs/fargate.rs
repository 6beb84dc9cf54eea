//! What Fargate does not take: platform versions, features and sizes that do not go together.

use crate::api::ApiError;
use crate::state::definition::TaskDefinition;
use crate::state::task::{Launch, Overrides};

/// CPU units with the least and the most memory in MiB, and the step between.
const SIZES: [(u32, u32, u32, u32); 7] = [
    (256, 512, 2048, 512),
    (512, 1024, 4096, 1024),
    (1024, 2048, 8192, 1024),
    (2048, 4096, 16_384, 1024),
    (4096, 8192, 30_720, 1024),
    (8192, 16_384, 61_440, 4096),
    (16_384, 32_768, 122_880, 8192),
];

/// Checks a task for Fargate.
pub(super) fn check(
    definition: &TaskDefinition,
    overrides: &Overrides,
    launch: &Launch,
    exec_enabled: bool,
) -> Result<(), ApiError> {
    let outline = &definition.outline;
    let kinds = &outline.requires_compatibilities;
    if !kinds.is_empty() && !kinds.iter().any(|kind| kind == "FARGATE") {
        return Err(ApiError::invalid_parameter(
            "Task definition does not support launch_type FARGATE.",
        ));
    }
    let storage = outline.ephemeral_storage.is_some() || overrides.ephemeral_storage.is_some();
    let efs = |volume: &serde_json::Value| volume.get("efsVolumeConfiguration").is_some();
    let needs_new = storage || exec_enabled || outline.volumes.iter().any(efs);
    if needs_new && launch.resolved_platform() == "1.3.0" {
        return Err(ApiError::new(
            "PlatformTaskDefinitionIncompatibilityException",
            "One or more of the requested capabilities are not supported on platform version 1.3.0.",
        ));
    }
    if let Some(storage) = &overrides.ephemeral_storage {
        let size = storage.get("sizeInGiB").and_then(serde_json::Value::as_i64);
        if !size.is_some_and(|size| (20..=200).contains(&size)) {
            return Err(ApiError::invalid_parameter(
                "ephemeralStorage.sizeInGiB must be between 20 and 200.",
            ));
        }
    }
    if overrides.cpu.is_none() && overrides.memory.is_none() {
        return Ok(());
    }
    let cpu = overrides.cpu.as_ref().or(outline.cpu.as_ref());
    let memory = overrides.memory.as_ref().or(outline.memory.as_ref());
    match (cpu, memory) {
        (Some(cpu), Some(memory)) if !fits(cpu, memory) => Err(ApiError::client(format!(
            "No Fargate configuration exists for given values: {cpu} CPU, {memory} memory."
        ))),
        _ => Ok(()),
    }
}

fn fits(cpu: &str, memory: &str) -> bool {
    let (Some(cpu), Some(memory)) = (amount(cpu, "vcpu"), amount(memory, "gb")) else {
        return false;
    };
    let step = |least: u32, step: u32| {
        // The smallest size also comes with 1 and 2 GiB only.
        (memory - least).is_multiple_of(step) && !(cpu == 256 && memory == 1536)
    };
    SIZES.iter().any(|&(units, least, most, by)| {
        cpu == units && (least..=most).contains(&memory) && step(least, by)
    })
}

/// `512`, or `0.5 vCPU`, `4 GB` in thousands (of 1024).
fn amount(text: &str, unit: &str) -> Option<u32> {
    let text = text.trim().to_ascii_lowercase();
    match text.strip_suffix(unit) {
        None => text.parse().ok(),
        Some(number) => {
            let whole: f64 = number.trim().parse().ok()?;
            let amount = whole * 1024.0;
            // In range and a whole number, so nothing is lost.
            ((0.0..1e6).contains(&amount) && amount.fract() == 0.0).then_some(amount as u32)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_fargate() {
        for (cpu, memory) in [
            ("256", "512"),
            ("256", "2048"),
            (".5 vCPU", "1GB"),
            ("1 vcpu", "8 GB"),
            ("4096", "30720"),
        ] {
            assert!(fits(cpu, memory), "{cpu} {memory}");
        }
        for (cpu, memory) in [
            ("256", "1536"),
            ("256", "4096"),
            ("300", "512"),
            ("512", "512"),
            ("x", "512"),
            ("", ""),
        ] {
            assert!(!fits(cpu, memory), "{cpu} {memory}");
        }
    }
}
